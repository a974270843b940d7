"""The calibration stage: which samples a method sees, and how a quantile is read from a histogram."""

from dataclasses import replace
from typing import Any

import pytest
import torch

from prunery import CalibrationSettings, Calibrator
from prunery.calibrate import calibrate, drawn, histogram_quantile, histogram_share
from prunery.data import Split
from prunery.toys import toy_checkpoint, toy_images


class Seen(Calibrator):
    name = "seen"

    def measure(self, network: Any, batches: Any) -> dict[str, dict[str, torch.Tensor]]:
        sizes, labels = zip(*((len(inputs), labels.cpu()) for inputs, labels in batches), strict=True)
        return {"0.weight": {"labels": torch.cat(labels), "sizes": torch.tensor(sizes)}}


def sorted_by_class():
    images = toy_images()
    order = images.train.labels.argsort(stable=True)
    return replace(images, train=Split(images.train.inputs[order], images.train.labels[order]))


def test_every_replica_sees_the_same_batches():
    found = calibrate(Seen(CalibrationSettings(samples=50, batch=20)), toy_checkpoint((3, 5)), toy_images())
    assert list(found) == [3, 5]
    assert found[3]["0.weight"]["sizes"].tolist() == [20, 20, 10]
    assert torch.equal(found[3]["0.weight"]["labels"], found[5]["0.weight"]["labels"])


def test_the_draw_is_random_over_a_sorted_split_and_follows_the_seed():
    data = sorted_by_class()
    first, again, other = (drawn(data, CalibrationSettings(samples=32, seed=seed)).train for seed in (0, 0, 1))
    assert first.labels.bincount(minlength=4).min() >= 3
    assert torch.equal(first.inputs, again.inputs)
    assert not torch.equal(first.inputs, other.inputs)
    assert len(drawn(data, CalibrationSettings(samples=10_000)).train) == len(data.train)


def test_the_split_is_the_one_that_was_asked_for():
    images = toy_images()
    settings = CalibrationSettings(split="validation", samples=20, batch=20)
    seen = drawn(images, settings)
    assert (len(seen.train), len(seen.validation), len(seen.test)) == (128, 20, 64)
    found = calibrate(Seen(settings), toy_checkpoint((0,)), images)[0]["0.weight"]
    assert torch.equal(found["labels"], seen.validation.labels)


def test_networks_stay_in_evaluation_mode_on_the_cpu():
    checkpoint = toy_checkpoint((0,))
    calibrate(Seen(), checkpoint, toy_images())
    assert not checkpoint.networks[0].training
    assert next(checkpoint.networks[0].parameters()).device.type == "cpu"


@pytest.mark.parametrize(("share", "value"), [(0.0, 0.0), (0.25, 0.5), (0.5, 1.0), (0.75, 3.0), (1.0, 4.0)])
def test_quantiles_are_linear_within_a_bin(share, value):
    counts, edges = torch.tensor([2, 0, 0, 2]), torch.tensor([0.0, 4.0])
    assert histogram_quantile(counts, edges, share) == pytest.approx(value + (0.5 if share == 0.75 else 0))


def test_shares_are_linear_within_a_bin_and_invert_quantiles():
    counts, edges = torch.tensor([2, 0, 1, 1]), torch.tensor([0.0, 4.0])
    places = (-1.0, 0.0, 0.5, 1.0, 2.0, 2.5, 4.0, 9.0)
    assert [histogram_share(counts, edges, place) for place in places] == [0, 0, 0.25, 0.5, 0.5, 0.625, 1, 1]
    for share in (0.1, 0.3, 0.6, 0.9):
        assert histogram_share(counts, edges, histogram_quantile(counts, edges, share)) == pytest.approx(share)
