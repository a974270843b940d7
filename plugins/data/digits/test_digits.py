"""The digits against scikit-learn's own loader, and the split."""

from pathlib import Path

import pytest
import torch

from prunery import PruneryError
from prunery.registry import registry


def load(**settings):
    return registry().configured("data", "digits", settings).load(None)


def test_images_and_labels_are_scikit_learn_s_scaled_to_bytes() -> None:
    from prunery_plugins.data.digits.core import installed_csv, read_digits
    from sklearn.datasets import load_digits

    wanted = load_digits()
    images, labels = read_digits(installed_csv())
    assert torch.equal(labels, torch.from_numpy(wanted.target).long())
    for value in range(17):
        stored = images[:, 0][torch.from_numpy(wanted.images == value)]
        assert stored.unique().tolist() == [round(value * 255 / 16)]


def test_sizes_classes_and_spec() -> None:
    data = load()
    assert (len(data.train), len(data.validation), len(data.test)) == (1294, 144, 359)
    assert data.classes == tuple("0123456789")
    assert data.spec.shape == (1, 8, 8)
    assert data.train.inputs.dtype == torch.uint8
    assert (data.mean, data.std) == ((0.5,), (0.5,))
    assert (data.train.labels.bincount() > 100).all()


def test_enlarged_pixels_are_squares() -> None:
    plain, large = (registry().configured("data", "digits", {"enlarge": size}).load(None) for size in (1, 4))
    assert large.spec.shape == (1, 32, 32)
    assert torch.equal(large.test.inputs[:, :, ::4, 3::4], plain.test.inputs)
    assert large.test.inputs[5, 0, 4:8, 8:12].unique().numel() == 1


def test_the_test_split_stays_whatever_the_other_seed() -> None:
    one, other = load(split_seed=1), load(split_seed=2)
    assert torch.equal(one.test.inputs, other.test.inputs)
    assert not torch.equal(one.validation.inputs, other.validation.inputs)
    assert len(load(test=0.5).test) == 898


def test_without_its_file_the_source_says_so(monkeypatch) -> None:
    registry()
    from prunery_plugins.data.digits import core

    monkeypatch.setattr(Path, "is_file", lambda path: False)
    with pytest.raises(PruneryError, match=r"digits\.csv\.gz: install a scikit-learn"):
        core.installed_csv()
