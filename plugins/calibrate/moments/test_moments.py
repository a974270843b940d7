"""Moments against sums over unfolded inputs."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from prunery import PruneryError
from prunery.edits import permute_edit, replay
from prunery.permuting import reorder
from prunery.registry import registry


def measure(network, inputs, **settings):
    batches = [(part, torch.zeros(len(part))) for part in inputs.split(3)]
    return registry().configured("calibrate", "moments", settings).measure(network.eval(), batches)


def test_linear_layers_by_hand():
    inputs = torch.randn(5, 7, 4, generator=torch.Generator().manual_seed(0))
    network = nn.Sequential(nn.Linear(4, 3), nn.Flatten())
    rows = measure(network, inputs)["0.weight"]
    flat = inputs.reshape(-1, 4)
    wanted = torch.stack([torch.outer(row, row) for row in flat]).mean(0)
    assert torch.allclose(rows["input_moments"], wanted[None, None], atol=1e-6)
    assert torch.allclose(rows["input_mean_abs"], flat.abs().mean(0)[None, None], atol=1e-6)
    assert bool(rows["gives_logits"])


@pytest.mark.parametrize("groups", [1, 2])
def test_convolutions_by_hand(groups):
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(4, 6, 3, stride=2, padding=1, groups=groups), nn.Flatten())
    inputs, wide = torch.randn(4, 4, 6, 6), 4 // groups
    patches = F.unfold(inputs, 3, padding=1, stride=2).movedim(1, 2).reshape(-1, groups, wide, 9)
    channels = measure(network, inputs)["0.weight"]["input_moments"]
    columns = measure(network, inputs, layout="im2col")["0.weight"]["input_moments"]
    for group in range(groups):
        for place in range(9):
            rows = patches[:, group, :, place]
            assert torch.allclose(channels[group, place], rows.T @ rows / len(rows), atol=1e-5)
        rows = patches[:, group].flatten(1)
        assert torch.allclose(columns[group, 0], rows.T @ rows / len(rows), atol=1e-5)


def test_the_classifier_is_known_and_wide_layers_are_left_out():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(12, 8), nn.ReLU(), nn.Linear(8, 3))
    inputs = torch.randn(6, 3, 2, 2)
    rows = measure(network, inputs)
    assert {key: bool(row["gives_logits"]) for key, row in rows.items()} == {"1.weight": False, "3.weight": True}
    assert set(measure(network, inputs, widest=8)) == {"3.weight"}


def test_inputs_count_in_the_order_of_the_columns():
    torch.manual_seed(0)
    network, inputs, order = nn.Sequential(nn.Linear(4, 3)), torch.randn(6, 4), torch.tensor([2, 0, 3, 1])
    before = measure(network, inputs)["0.weight"]["input_moments"][0, 0]
    reorder(replay(network, [permute_edit(["0.weight"])])[0], order)
    after = measure(network, inputs)["0.weight"]["input_moments"][0, 0]
    assert torch.equal(after, before[order][:, order])


def test_what_cannot_be_measured_is_named():
    network = nn.Sequential(nn.Linear(2, 2))
    with pytest.raises(PruneryError, match=r"the input of 0\.weight's layer is not finite"):
        measure(network, torch.tensor([[1.0, float("nan")]]))
    with pytest.raises(PruneryError, match="raise `samples`"):
        registry().configured("calibrate", "moments", {}).measure(network, [])
