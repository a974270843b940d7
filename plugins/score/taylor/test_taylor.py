"""Expansions by hand, and the first-order one against the loss that a removal costs."""

import copy

import pytest
import torch
import torch.nn.functional as F
from prunery_plugins.score.taylor.core import changes
from torch import nn

from prunery import Layer
from prunery.coupling.ranking import channel_layers
from prunery.coupling.structure import structure_of
from prunery.registry import registry

MOMENTS = {
    "gradient_mean_abs": torch.tensor([[1.0, 2.0], [0.5, 0.0]]),
    "fisher": torch.tensor([[1.0, 4.0], [1.0, 0.0]]),
    "filter_taylor": torch.tensor([9.0, 0.25]),
}


def seeded(seed):
    return torch.Generator().manual_seed(seed)


class Read(nn.Module):
    """A layer with a batch norm, whose channels two layers read; little enough for the first order to be all."""

    def __init__(self):
        super().__init__()
        self.made, self.norm = nn.Linear(5, 4), nn.BatchNorm1d(4)
        self.left, self.right = nn.Linear(4, 3), nn.Linear(4, 3)
        with torch.no_grad():
            for number, parameter in enumerate(self.parameters()):
                parameter.copy_(torch.randn(parameter.shape, generator=seeded(number)))
            self.made.weight[3] = 0
            for reader in (self.left, self.right):
                reader.weight.mul_(0.01)

    def forward(self, inputs):
        made = self.norm(self.made(inputs)).relu() + 0.1
        return self.left(made) + self.right(made)


def losses(network, inputs, labels):
    with torch.no_grad():
        return F.cross_entropy(network(inputs), labels, reduction="none")


@pytest.mark.parametrize(("order", "wanted"), [("filter", [9.0, 0.25]), ("first", [5.0, 1.5]), ("second", [8.5, 4.5])])
def test_each_order_by_hand(order, wanted):
    assert changes(torch.tensor([[1.0, -2.0], [3.0, 5.0]]), MOMENTS, order).tolist() == wanted


def test_the_filter_order_is_the_squared_change_of_small_channels():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(6, 4, bias=False), nn.Linear(4, 3)).double().eval()
    network[0].weight.data *= 1e-3  # so that the first order is all there is
    inputs, labels = torch.randn(32, 6).double(), torch.randint(0, 3, (32,))
    found = registry().configured("calibrate", "gradients", {}).measure(network, [(inputs, labels)])
    for channel in range(4):
        cut = nn.Sequential(nn.Linear(6, 4, bias=False), network[1]).double()
        cut[0].weight.data = network[0].weight.detach().clone()
        cut[0].weight.data[channel] = 0
        with torch.no_grad():
            apart = F.cross_entropy(cut(inputs), labels, reduction="none") - F.cross_entropy(
                network(inputs), labels, reduction="none"
            )
        assert float(found["0.weight"]["filter_taylor"][channel]) == pytest.approx(
            float(apart.square().mean()), rel=0.01
        )


def test_the_removal_order_is_the_squared_change_when_the_channel_goes_with_its_norm_and_its_readers():
    """A channel that a batch norm shifts is read by two layers: weights of zero would leave the shift behind."""
    network = Read().eval().double()
    inputs, labels = torch.randn(24, 5, generator=seeded(1)).double(), torch.randint(0, 3, (24,), generator=seeded(2))
    moments = registry().configured("calibrate", "gradients", {}).measure(network, [(inputs, labels)])
    structure = structure_of(network, inputs[:2])
    layer = channel_layers(network, structure, {"gradients": moments}, inputs[:2])["made.weight"]
    found = registry().configured("score", "taylor", {}).score(layer, seeded(0))
    for channel in range(4):
        cut = copy.deepcopy(network)
        for reader in (cut.left, cut.right):
            reader.weight.data[:, channel] = 0
        apart = losses(cut, inputs, labels) - losses(network, inputs, labels)
        assert float(found[channel]) == pytest.approx(float(apart.square().mean()), rel=0.02)
    by_weights = registry().configured("score", "taylor", {"order": "filter"}).score(layer, seeded(0))
    assert float(by_weights[3]) == 0.0  # its weights are zero, and yet it goes on passing its shift
    assert float(found[3]) > 0.0


def test_without_a_reader_the_removal_order_says_nothing():
    assert (
        registry()
        .configured("score", "taylor", {})
        .score(Layer("a.weight", torch.ones(2, 2), measured={"gradients": MOMENTS}), seeded(0))
        is None
    )
