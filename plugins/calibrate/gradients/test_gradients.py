"""Moments of gradients against `backward` on each sample, and against a closed form."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from prunery import PruneryError
from prunery.registry import registry


def measure(network, batches, **settings):
    return registry().configured("calibrate", "gradients", settings).measure(network.eval(), batches)


@pytest.fixture
def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(64, 3))


@pytest.fixture
def batches():
    generator = torch.Generator().manual_seed(0)
    return [
        (torch.randn(size, 1, 6, 6, generator=generator), torch.randint(0, 3, (size,), generator=generator))
        for size in (4, 4, 2)
    ]


def naive(network, parts):
    """(sum |g|, sum g^2), each part weighted by its samples, over their number."""
    totals = {key: torch.zeros(2, *network.get_parameter(key).shape) for key in ("0.weight", "3.weight")}
    for inputs, labels in parts:
        network.zero_grad()
        F.cross_entropy(network(inputs), labels).backward()
        for key, total in totals.items():
            gradient = network.get_parameter(key).grad
            total += len(labels) * torch.stack([gradient.abs(), gradient.square()])
    network.zero_grad()
    return {key: total / sum(len(labels) for _, labels in parts) for key, total in totals.items()}


@pytest.mark.parametrize("per_sample", [True, False])
def test_moments_equal_those_of_backward(network, batches, per_sample):
    parts = [(x[None], y[None]) for batch in batches for x, y in zip(*batch, strict=True)] if per_sample else batches
    expected = naive(network, parts)
    found = measure(network, batches, per_sample=per_sample)
    assert set(found) == set(expected)
    for key, (absolute, square) in expected.items():
        assert torch.allclose(found[key]["gradient_mean_abs"], absolute, rtol=1e-4, atol=1e-7)
        assert torch.allclose(found[key]["fisher"], square, rtol=1e-4, atol=1e-9)


def test_fisher_of_a_softmax_at_zero_weights():
    layer = nn.Linear(2, 2, bias=False)
    layer.weight.data.zero_()  # probabilities 1/2: g = (1/2 - onehot) x^T
    inputs = torch.tensor([[1.0, 2.0], [3.0, 0.0]])
    row = measure(layer, [(inputs, torch.tensor([0, 1]))])["weight"]
    assert row["fisher"].tolist() == [[1.25, 0.5], [1.25, 0.5]]
    assert row["gradient_mean_abs"].tolist() == [[1.0, 0.5], [1.0, 0.5]]


def test_frozen_and_unused_weights(network, batches):
    network.requires_grad_(False)
    network.add_module("spare", nn.Identity())
    network.spare.inner = nn.Linear(3, 3)
    found = measure(network, batches)
    assert found["0.weight"]["fisher"].sum() > 0
    assert found["spare.inner.weight"]["fisher"].abs().sum() == 0
    assert not any(parameter.requires_grad for parameter in network[0].parameters())


def test_gradients_that_are_not_finite_name_their_weight(network, batches):
    network[3].weight.data.fill_(float("inf"))
    with pytest.raises(PruneryError, match=r"gradient of .*weight is not finite"):
        measure(network, batches)
