"""Traces against the exact Hessian of tiny networks."""

import itertools

import pytest
import torch
import torch.nn.functional as F
from prunery_plugins.calibrate.hessian.core import quadratic_forms, signs
from torch import nn

from prunery import PruneryError
from prunery.layers import weights
from prunery.registry import registry


def measure(network, batches, **settings):
    return registry().configured("calibrate", "hessian", settings).measure(network.eval(), batches)


@pytest.fixture
def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.Tanh(), nn.Flatten(), nn.Linear(8, 3))


@pytest.fixture
def batches():
    generator = torch.Generator().manual_seed(0)
    return [
        (torch.randn(size, 1, 4, 4, generator=generator), torch.randint(0, 3, (size,), generator=generator))
        for size in (5, 3)
    ]


def exact_traces(network, batches):
    """The trace of each diagonal block, from the full Hessian over all samples at once."""
    inputs, labels = (torch.cat(parts) for parts in zip(*batches, strict=True))
    free = weights(network)

    def loss(*values):
        named = dict(zip(free, values, strict=True))
        return F.cross_entropy(torch.func.functional_call(network, named, (inputs,)), labels)

    blocks = torch.autograd.functional.hessian(loss, tuple(free.values()))
    sides = [weight.numel() for weight in free.values()]
    return {key: float(blocks[i][i].reshape(sides[i], sides[i]).trace()) for i, key in enumerate(free)}


def test_the_mean_over_all_sign_vectors_is_the_trace():
    torch.manual_seed(1)
    network = nn.Sequential(nn.Linear(2, 2, bias=False), nn.Tanh(), nn.Linear(2, 2, bias=False)).double()
    inputs, labels = torch.randn(4, 2, dtype=torch.float64), torch.tensor([0, 1, 1, 0])
    free = {key: weight.clone().requires_grad_() for key, weight in weights(network).items()}
    draws = []
    for bits in itertools.product((-1.0, 1.0), repeat=8):
        vector = torch.tensor(bits, dtype=torch.float64)
        draws.append({"0.weight": vector[:4].reshape(2, 2), "2.weight": vector[4:].reshape(2, 2)})
    forms = quadratic_forms(network, free, inputs, labels, draws)
    for key, trace in exact_traces(network, [(inputs, labels)]).items():
        assert float(forms[key].mean()) == pytest.approx(trace, rel=1e-10)
        assert float(forms[key].std()) > 0.01


def test_estimates_lie_within_their_standard_error(network, batches):
    found, exact = measure(network, batches, probes=200), exact_traces(network, batches)
    assert set(found) == set(exact) == {"0.weight", "3.weight"}
    for key, trace in exact.items():
        row = found[key]
        assert float(row["trace"]) == pytest.approx(trace, abs=4 * float(row["trace_error"]))
        assert 0 < float(row["trace_error"]) < 0.25
        count = network.get_parameter(key).numel()
        assert float(row["trace_per_weight"]) == pytest.approx(float(row["trace"]) / count)


def test_the_error_falls_with_the_root_of_the_probes(network, batches):
    few, many = (measure(network, batches, probes=probes)["0.weight"]["trace_error"] for probes in (20, 320))
    assert float(few / many) == pytest.approx(4, rel=0.5)


def test_softmax_regression_at_zero_weights():
    """On one-hot inputs every sample has its own column, with the block 1/4 [[1, -1], [-1, 1]], over two samples."""
    layer = nn.Linear(2, 2, bias=False)
    layer.weight.data.zero_()
    row = measure(layer, [(torch.eye(2), torch.tensor([0, 1]))], probes=100)["weight"]
    assert float(row["trace"]) == pytest.approx(0.5, abs=4 * float(row["trace_error"]))


def test_attention_and_recurrence_have_second_derivatives():
    torch.manual_seed(0)
    encoder = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    attention = nn.Sequential(encoder, nn.Flatten(), nn.Linear(24, 2))
    row = measure(attention, [(torch.randn(4, 3, 8), torch.tensor([0, 1, 0, 1]))], probes=2)["2.weight"]
    assert float(row["trace"]) > 0


def test_unused_and_frozen_weights(network, batches):
    network.requires_grad_(False)
    network.add_module("spare", nn.Identity())
    network.spare.inner = nn.Linear(3, 3)
    found = measure(network, batches, probes=2)
    assert float(found["spare.inner.weight"]["trace"]) == 0
    assert float(found["3.weight"]["trace"]) > 0
    assert not any(parameter.requires_grad for parameter in network[0].parameters())


def test_signs_are_even():
    vectors = signs({"a": torch.zeros(1000)}, torch.Generator().manual_seed(0))["a"]
    assert vectors.abs().eq(1).all()
    assert abs(float(vectors.mean())) < 0.1


def test_what_is_not_finite_names_its_weight(network, batches):
    network[3].weight.data.fill_(float("inf"))
    with pytest.raises(PruneryError, match=r"Hessian of .*weight is not finite"):
        measure(network, batches)
    with pytest.raises(PruneryError, match="raise `samples`"):
        measure(network, [])
