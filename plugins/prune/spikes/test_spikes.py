"""Truncated weights against numpy's singular values, thresholds against published ones."""

import numpy as np
import pytest
import torch
from prunery_plugins.prune.spikes.core import gavish_donoho, only_spikes

from prunery.prune import generator_of
from prunery.registry import registry


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("shape", [(12, 30), (30, 12), (16, 16), (10, 4, 3, 3)])
def test_values_up_to_the_edge_are_gone_and_the_others_stay(shape):
    weight = draw(*shape)
    left, values, right = np.linalg.svd(weight.flatten(1).double().numpy(), full_matrices=False)
    edge = (values[3] + values[4]) / 2
    found = only_spikes(weight, edge, 0)
    wanted = (left[:, :4] * values[:4]) @ right[:4]
    assert (found.shape, found.dtype) == (weight.shape, weight.dtype)
    np.testing.assert_allclose(found.flatten(1).numpy(), wanted, atol=1e-5)


def test_so_many_values_stay_in_any_case():
    weight = draw(8, 20)
    assert not only_spikes(weight, 1e3, 0).any()
    assert np.linalg.matrix_rank(only_spikes(weight, 1e3, 2).numpy(), tol=1e-4) == 2


def test_a_layer_of_zeros_stays_zero():
    assert not only_spikes(torch.zeros(8, 20), 1.0, 1).any()


@pytest.mark.parametrize(("rows", "columns", "omega"), [(50, 50, 2.8582), (100, 50, 2.1711), (10, 100, 1.6089)])
def test_gavish_donoho_as_published(rows, columns, omega):
    """Table IV of the paper: gamma 1, 0.5 and 0.1."""
    assert gavish_donoho(rows, columns) == pytest.approx(omega, abs=2e-4)


def test_gavish_donoho_finds_planted_values():
    left, right = torch.linalg.qr(draw(200, 3, seed=1)).Q, torch.linalg.qr(draw(400, 3, seed=2)).Q
    weight = 0.02 * draw(200, 400) + left @ torch.diag(torch.tensor([4.0, 3.0, 2.0])) @ right.T
    assert np.linalg.matrix_rank(only_spikes(weight, None, 0).numpy(), tol=1e-3) == 3


def test_layers_without_a_fit_are_left_alone_and_excluded_ones_are_not_answered():
    weights = {"a": draw(12, 30), "b": draw(12, 30, seed=1), "head": draw(4, 12)}
    rows = {"a": {"sigma_plus": 6.0, "spike_edge": 7.0}, "b": {"fitted": False}}
    method = registry().configured("prune", "spikes", {"exclude": ["head"]})
    found = method.project(weights, {}, {"mp": rows}, generator_of(0))
    assert list(found) == ["a", "b"]
    assert torch.equal(found["b"].weight, weights["b"])
    kept = int((torch.linalg.svdvals(weights["a"]) > 6.0).sum())
    assert np.linalg.matrix_rank(found["a"].weight.numpy(), tol=1e-4) == kept < 12


def test_needs_follow_the_threshold():
    assert registry().configured("prune", "spikes", {}).needs() == ("spectral_fit=mp",)
    assert registry().configured("prune", "spikes", {"threshold": "gavish_donoho"}).needs() == ()
