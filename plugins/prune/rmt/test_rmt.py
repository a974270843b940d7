"""One cycle against the published formulas written out."""

import numpy as np
import pytest
import torch
from prunery_plugins.prune.rmt.core import level, removals, scores, smallest_masked, sparse_vectors, thresholds

from prunery import PruneryError
from prunery.prune import generator_of
from prunery.registry import registry


def configured(**settings):
    return registry().configured("prune", "rmt", settings)


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def fit(error=0.1, bulk=0.9, edge=10.0):
    return {"fitted": True, "fit_error": error, "bulk_fraction": bulk, "sigma_plus": edge}


def test_cycles_and_reductions():
    assert (configured().settings.number, configured(cycle=34).settings.number) == (1, 34)
    assert configured(sparsity=0.35).settings.number == 7
    assert configured(sparsity=0.01).settings.number == 1
    assert configured(cycle=34).settings.rho == pytest.approx(0.06 * 1.02**34)


def test_thresholds_of_vectors():
    found = thresholds(torch.tensor([20.0, 10.0, 5.0, 0.0], dtype=torch.float64), 10.0, 3.0, 2.0, 0.01)
    assert found.tolist() == pytest.approx([0.03, 0.03, 0.75, 3.0])


def test_vectors_lose_their_small_entries():
    """Both passes of the published code: first the bulk by its own thresholds, then all by the least one."""
    weight = draw(24, 40)
    settings = configured(cycle=2, theta=2e-3, power=1.0, least=0.2).settings
    left, values, right = np.linalg.svd(weight.double().numpy(), full_matrices=False)
    edge, theta = float(values[5]), 2e-3 * 0.06 * 1.02**2 * 24 * 40
    for index in np.flatnonzero(values < edge):
        for vector in (left[:, index], right[index]):
            vector[np.abs(vector) < theta * (1 - values[index] / edge)] = 0
    for part in (left, right):
        part[np.abs(part) < theta * 0.2] = 0
    found = sparse_vectors(weight, fit(edge=edge), settings)
    np.testing.assert_allclose(found.numpy(), (left * values) @ right, atol=1e-5)
    assert float((found - weight).norm() / weight.norm()) > 0.01


@pytest.mark.parametrize(
    ("settings", "row"), [({"cycle": 3}, fit()), ({"cycle": 2, "every": 0}, fit()), ({"cycle": 2}, {})]
)
def test_when_vectors_are_left_alone(settings, row):
    weight = draw(24, 40)
    assert sparse_vectors(weight, row, configured(**settings).settings) is weight


def test_scores():
    found = scores({"a": fit(0.1, 0.9), "b": fit(0.4, 0.5), "c": {"fitted": False}}, 1.5 / 3, "mean")
    assert found["a"] == pytest.approx((0.9 * 0.9) ** 0.5)
    assert found["b"] == pytest.approx(0.3**0.5)
    assert found["c"] == pytest.approx((found["a"] + found["b"]) / 2)
    assert scores({"c": {}}, 1.0, "mean") == {"c": 1.0}
    assert scores({"c": {}}, 1.0, "zero") == {"c": 0.0}


def test_counts_of_a_cycle_follow_the_formula():
    alive = {"a": torch.ones(30, 40, dtype=torch.bool), "b": torch.arange(100) % 2 == 0}
    found = removals(alive, {"a": 0.5, "b": 0.25}, configured(cycle=4).settings)
    rho = 0.06 * 1.02**4
    assert found == {"a": int(0.5 * rho * 1200), "b": int(0.25 * rho * 50)}


def test_counts_for_a_sparsity_are_exact_and_in_proportion():
    alive = {"a": torch.ones(1000, dtype=torch.bool), "b": torch.arange(500) % 2 == 0}
    found = removals(alive, {"a": 0.2, "b": 0.8}, configured(sparsity=0.4).settings)
    assert sum(found.values()) == 600 - 250
    assert found["a"] / 1000 == pytest.approx(found["b"] / 250 / 4, abs=2e-3)


def test_what_one_layer_cannot_give_the_others_do():
    assert level({"a": 100, "b": 100}, {"a": 0.1, "b": 0.9}, 150) == {"a": 0.5, "b": 1.0}
    assert level({"a": 100, "b": 100}, {"a": 0.0, "b": 0.9}, 30) == {"a": 0.0, "b": pytest.approx(0.3)}


def test_a_sparsity_out_of_reach_is_refused():
    alive = {"a": torch.ones(100, dtype=torch.bool), "b": torch.ones(100, dtype=torch.bool)}
    with pytest.raises(PruneryError, match=r"sparsity 0\.9 is more than the layers with a fit can give"):
        removals(alive, {"a": 1.0, "b": 0.0}, configured(sparsity=0.9).settings)


def test_smallest_magnitudes_go_first_and_ties_by_place():
    values = torch.tensor([[3.0, -1.0, 0.0], [1.0, 2.0, -5.0]])
    mask = smallest_masked(values, values != 0, 2)
    assert mask.tolist() == [[True, False, False], [False, True, True]]


def test_the_whole_method_reaches_its_sparsity_and_keeps_zeros():
    weights = {"a": draw(24, 40), "b": draw(32, 16, seed=1)}
    weights["a"][0] = 0
    rows = {"a": fit(edge=9.0), "b": fit(0.3, 0.8, edge=8.0)}
    method = configured(sparsity=0.5, cycle=2, theta=2e-3, power=1.0, least=0.2)
    found = method.project(weights, {}, {"mp": rows}, generator_of(0))
    assert sum(int((~each.mask).sum()) for each in found.values()) == (24 * 40 + 32 * 16) // 2
    assert not found["a"].mask[0].any()
    for key, each in found.items():
        assert torch.equal(each.weight != 0, each.mask)
        assert not torch.equal(each.weight[each.mask], weights[key][each.mask])  # recomposed
