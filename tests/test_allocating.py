"""Shares for layers against linear programs, brute force and cases by hand."""

import itertools

import numpy as np
import pytest
import torch
from scipy.optimize import isotonic_regression, linprog

from prunery.allocating import Curve, allocate, curves, envelope, estimated_rise, whole_counts
from prunery.errors import PruneryError

SHARES = (0.0, 0.2, 0.4, 0.6, 0.8)


def random_curves(count, seed, noise=0.02):
    """Rising, more and more steeply, under noise."""
    random = np.random.default_rng(seed)
    found = {}
    for index in range(count):
        scale, power = random.exponential(), random.uniform(1, 5)
        losses = 0.5 + scale * np.array(SHARES) ** power + noise * random.standard_normal(len(SHARES))
        found[f"{index}.weight"] = Curve(SHARES, tuple(losses.tolist()))
    return found, {key: float(random.integers(10, 1000)) for key in found}


def test_the_envelope_is_monotone_convex_and_touches():
    for curve in random_curves(50, 0, noise=0.2)[0].values():
        corners = envelope(curve)
        slopes = np.diff(corners.losses) / np.diff(corners.shares)
        assert (slopes >= 0).all()
        assert (np.diff(slopes) > 0).all()
        monotone = isotonic_regression(curve.losses).x
        below = np.interp(SHARES, corners.shares, corners.losses)
        assert (below <= monotone + 1e-12).all()
        assert all(
            loss == pytest.approx(monotone[SHARES.index(share)])
            for share, loss in zip(corners.shares, corners.losses, strict=True)
        )
        assert (corners.shares[0], corners.shares[-1]) == (0.0, 0.8)


def test_a_convex_rising_curve_is_its_own_envelope():
    curve = Curve((0.0, 0.5, 1.0), (1.0, 1.1, 2.0))
    assert envelope(curve) == curve
    assert envelope(Curve((0.0, 0.5, 1.0), (1.0, 0.8, 0.9))).losses == pytest.approx((0.9, 0.9))


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("target", [0.1, 0.5, 0.75])
def test_the_sum_of_losses_is_that_of_the_linear_program(seed, target):
    found, costs = random_curves(7, seed)
    amount = target * sum(costs.values())
    shares = allocate(found, costs, amount)
    assert sum(costs[key] * share for key, share in shares.items()) == pytest.approx(amount)
    steps, prices, lengths = [], [], []
    for key, curve in found.items():
        corners = envelope(curve)
        for (s, a), (t, b) in itertools.pairwise(zip(corners.shares, corners.losses, strict=True)):
            steps.append(costs[key])
            prices.append((b - a) / (t - s))
            lengths.append(t - s)
    best = linprog(prices, A_eq=[steps], b_eq=[amount], bounds=[(0, length) for length in lengths])
    assert estimated_rise(found, shares) == pytest.approx(best.fun, rel=1e-6, abs=1e-9)


def test_no_choice_of_measured_shares_is_better():
    found, costs = random_curves(4, 3, noise=0)
    for target in (0.2, 0.45, 0.7):
        amount = target * sum(costs.values())
        rise = estimated_rise(found, allocate(found, costs, amount))
        for choice in itertools.product(range(5), repeat=4):
            given = sum(cost * SHARES[level] for cost, level in zip(costs.values(), choice, strict=True))
            if given >= amount:
                measured = sum(c.losses[level] - c.losses[0] for c, level in zip(found.values(), choice, strict=True))
                assert rise <= measured + 1e-9


def test_shares_grow_with_the_target_and_cheap_layers_give_first():
    found, costs = random_curves(6, 1)
    total = sum(costs.values())
    profiles = [allocate(found, costs, target * total) for target in np.linspace(0, 0.8, 17)]
    for first, second in itertools.pairwise(profiles):
        assert all(first[key] <= second[key] + 1e-12 for key in first)
    assert list(profiles[-1].values()) == pytest.approx([0.8] * 6)
    flat, steep = Curve((0.0, 0.5), (1.0, 1.0)), Curve((0.0, 0.5), (1.0, 2.0))
    assert allocate({"a": flat, "b": steep, "c": flat}, {"a": 10, "b": 10, "c": 30}, 10) == {
        "a": 0.25, "b": 0.0, "c": 0.25,
    }  # fmt: skip


def test_targets_out_of_reach_and_layers_that_were_not_measured():
    found, costs = random_curves(3, 0)
    with pytest.raises(PruneryError, match=r"give 88.9% of what is asked for: measure larger shares"):
        allocate(found, costs, 0.9 * sum(costs.values()))
    with pytest.raises(PruneryError, match=r"not measured what b suffers by losing weights: .* with mode: weights"):
        curves({"a": {}}, ["b"])
    row = {"dense_loss": torch.tensor(0.5), "share": torch.tensor([0.25, 0.5]), "loss": torch.tensor([0.75, 1.0])}
    with pytest.raises(PruneryError, match="a suffers by losing channels"):
        curves({"a": row | {"weights": torch.tensor(9)}}, ["a"], "channels")
    row["weights"] = torch.tensor(9)
    assert curves({"a": row, "c": {}}, ["a"]) == {"a": Curve((0.0, 0.25, 0.5), (0.5, 0.75, 1.0))}


def test_layers_that_cost_nothing_give_nothing():
    curve = Curve((0.0, 0.5), (1.0, 1.0))
    assert allocate({"a": curve, "b": curve}, {"a": 0, "b": 4}, 2) == {"a": 0.0, "b": 0.5}


def test_whole_counts_add_up():
    counts = whole_counts({"a": 10, "b": 7, "c": 3}, {"a": 0.55, "b": 0.5, "c": 0.0}, 9)
    assert counts == {"a": 6, "b": 3, "c": 0} or counts == {"a": 5, "b": 4, "c": 0}
    assert sum(counts.values()) == 9
