"""Thresholds on singular vectors against loops."""

import pytest
import torch
from prunery_plugins.prune.haar.core import sparsified

from prunery.errors import PruneryError
from prunery.prune import generator_of
from prunery.registry import registry


def configured(**settings):
    return registry().configured("prune", "haar", settings)


def naive(weight, edge, strength, power):
    matrix = weight.reshape(len(weight), -1).double()
    rows, columns = matrix.shape
    left, values, right = torch.linalg.svd(matrix, full_matrices=False)
    whole = torch.zeros_like(matrix)
    for index, value in enumerate(values.tolist()):
        u, v = left[:, index].clone(), right[index].clone()
        if value < edge:
            reach = strength * (1 - value / edge) ** power
            for place in range(rows):
                if abs(float(u[place])) < reach / rows**0.5:
                    u[place] = 0
            for place in range(columns):
                if abs(float(v[place])) < reach / columns**0.5:
                    v[place] = 0
        whole += value * torch.outer(u, v)
    return whole.reshape(weight.shape).float()


@pytest.mark.parametrize("shape", [(12, 20), (20, 12), (8, 3, 3, 3)])
@pytest.mark.parametrize(("strength", "power"), [(0.5, 3.0), (2.0, 1.0)])
def test_small_entries_of_bulk_vectors_go(shape, strength, power):
    weight = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    edge = float(torch.linalg.svdvals(weight.reshape(shape[0], -1))[2])  # two vectors lie above
    found = sparsified(weight, edge, strength, power)
    assert torch.allclose(found, naive(weight, edge, strength, power), atol=1e-5)
    assert float((found - weight).norm() / weight.norm()) > 1e-3


def test_vectors_above_the_edge_are_untouched():
    weight = torch.randn(6, 9, generator=torch.Generator().manual_seed(1))
    lowest = float(torch.linalg.svdvals(weight)[-1])
    assert torch.allclose(sparsified(weight, 0.99 * lowest, 5.0, 1.0), weight, atol=1e-6)


def test_zeros_stay_zero():
    weight = torch.randn(16, 16, generator=torch.Generator().manual_seed(2))
    weight[::2, 1::3] = 0
    found = sparsified(weight, 20.0, 1.0, 1.0)
    assert not found[weight == 0].any()
    assert float((found[weight != 0] != 0).float().mean()) > 0.95


def test_the_hill_exponent_scales_the_threshold_of_a_layer():
    weights = {key: torch.randn(16, 24, generator=torch.Generator().manual_seed(3)) for key in ("a", "b", "c")}
    fitted = {"a": {"sigma_plus": 9.0, "hill": 2.0}, "b": {"sigma_plus": 9.0, "hill": 4.0}, "c": {"hill": 99.0}}
    found = configured(strength=0.6).project(weights, {}, {"mp": fitted}, generator_of(0))
    assert list(found) == ["a", "b"]
    assert torch.equal(found["a"].weight, sparsified(weights["a"], 9.0, 0.6 * 2 / 3, 3.0))
    assert torch.equal(found["b"].weight, sparsified(weights["b"], 9.0, 0.6 * 4 / 3, 3.0))
    assert found["a"].mask is None
    flat = configured(strength=0.6, hill=False).project(weights, {}, {"mp": fitted}, generator_of(0))
    assert torch.equal(flat["b"].weight, sparsified(weights["b"], 9.0, 0.6, 3.0))


def test_networks_without_a_bulk_are_refused():
    with pytest.raises(PruneryError, match="spectral_fit=mp found no bulk in any layer"):
        configured().project({"a": torch.ones(2, 2)}, {}, {"mp": {"a": {"hill": 99.0}}}, generator_of(0))


def test_needs_follow_the_settings():
    assert configured().needs() == ("spectral_fit=mp",)
    assert configured(spectra="dense", fit="coded").needs() == ("dense:spectral_fit=coded",)
