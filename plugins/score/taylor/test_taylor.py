"""Expansions by hand, and the first-order one against the loss that a removal costs."""

import pytest
import torch
import torch.nn.functional as F
from prunery_plugins.score.taylor.core import changes
from torch import nn

from prunery.registry import registry

MOMENTS = {
    "gradient_mean_abs": torch.tensor([[1.0, 2.0], [0.5, 0.0]]),
    "fisher": torch.tensor([[1.0, 4.0], [1.0, 0.0]]),
    "filter_taylor": torch.tensor([9.0, 0.25]),
}


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
