"""Sizes against counting by hand, for plain, masked and integer networks."""

import pytest
import torch
from torch import nn

from prunery.data import Spec
from prunery.edits import integers_edit, mask_edit, replay
from prunery.layers import layer_of
from prunery.patterns import pattern_of
from prunery.sizes import macs, sizes

SPEC = Spec("image", (4, 8, 8), 5)


@pytest.fixture
def network():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(4, 6, 3, stride=2, padding=1, groups=2), nn.BatchNorm2d(6), nn.ReLU(), nn.Flatten(), nn.Linear(96, 5)
    )


def test_plain(network):
    found = sizes(network, SPEC)
    weights, others = 6 * 2 * 9 + 96 * 5, 6 + 12 + 5
    assert found["parameters"] == weights + others
    assert found["nonzero"] == weights + 6 + 6 + 5  # batch norm starts with shifts of zero
    assert found["sparsity"] == 6 / (weights + others)
    assert found["weight_sparsity"] == 0
    assert found["bits"] == 32 * (weights + others + 12) + 64  # running statistics, and int64 num_batches_tracked
    assert found["mask_bits"] == 0
    assert found["macs"] == 6 * 4 * 4 * 2 * 9 + 96 * 5
    assert found["layers"]["0.weight"] == {
        "parameters": 108, "nonzero": 108, "sparsity": 0, "bits": 108 * 32, "dtype": "float32", "macs": 1728,
        "macs_pattern": 1728,
    }  # fmt: skip


def test_masked(network):
    replay(network, [mask_edit(["4.weight"])])
    with torch.no_grad():
        network[4].weight[:, ::4] = 0
    found = sizes(network, SPEC)
    assert found["layers"]["4.weight"]["sparsity"] == 0.25
    assert found["weight_sparsity"] == 120 / 588
    assert found["sparsity"] == (120 + 6) / 611
    assert found["mask_bits"] == 480 * 8
    assert (found["parameters"], found["macs"]) == (611, 1728 + 480)
    assert found["layers"]["4.weight"]["bits"] == 480 * 32


def test_integers(network):
    before = sizes(network, SPEC)
    replay(network, [mask_edit(["4.weight"]), integers_edit(["4.weight"])])
    layer_of(network, "4.weight").get_buffer("weight")[:4] = 3
    found = sizes(network, SPEC)
    grids = 5 * 32 + 2 * 32 + 2 * 8
    assert found["layers"]["4.weight"] == {
        "parameters": 480, "nonzero": 384, "sparsity": 0.2, "bits": 480 * 8 + grids, "dtype": "int8", "macs": 480,
        "macs_pattern": 480,
    }  # fmt: skip
    assert found["bits"] == before["bits"] - 480 * 24 + grids
    assert (found["parameters"], found["macs"]) == (before["parameters"], before["macs"])


def test_layers_that_run_often_count_often():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.shared, self.idle = nn.Linear(3, 3), nn.Linear(3, 3)

        def forward(self, inputs):
            return self.shared(self.shared(inputs[:, 0]))

    network = Twice()
    assert macs(network, Spec("image", (1, 7, 3), 3)) == {"shared.weight": 2 * 7 * 9, "idle.weight": 0}
    assert network.training
    assert not network.shared._forward_hooks


@pytest.mark.parametrize(("keep", "group"), [(2, 4), (1, 4), (5, 8), (8, 16)])
@pytest.mark.parametrize("shape", [(6, 16), (5, 16, 3, 3)])
def test_patterns_are_found_with_their_least_group(keep, group, shape):
    scores = torch.rand(shape, generator=torch.Generator().manual_seed(0)).movedim(1, -1).unflatten(-1, (-1, group))
    alive = (scores.argsort(-1).argsort(-1) < keep).flatten(-2).movedim(-1, 1)
    assert pattern_of(alive) == (keep, group)
    spoilt = alive.clone()
    spoilt[0, :, ...] = True
    assert pattern_of(spoilt) is None


def test_patterns_of_flattened_kernels_and_of_none():
    flat = torch.tensor([True, False, False]).repeat(4, 12).reshape(4, 4, 3, 3)
    assert pattern_of(flat) == (1, 3)
    assert pattern_of(torch.ones(2, 8, dtype=torch.bool)) is None
    assert pattern_of(torch.rand(40, 32, generator=torch.Generator().manual_seed(0)) > 0.5) is None
    halves = torch.arange(16).reshape(1, 16) % 2 == 0
    assert pattern_of(halves) == (1, 2)


def test_patterns_count_their_share_of_the_work(network):
    replay(network, [mask_edit(["4.weight"])])
    layer_of(network, "4.weight").get_buffer("weight/mask")[:, 1::2] = False
    found = sizes(network, SPEC)
    assert found["layers"]["4.weight"]["pattern"] == "1:2"
    assert "pattern" not in found["layers"]["0.weight"]
    assert (found["macs"], found["macs_pattern"]) == (1728 + 480, 1728 + 240)
