"""Sweeps of known truth: change points, gaps and their intervals."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from prunery.registry import registry
from prunery.reporting.results import Results
from prunery.toyresults import PRUNE, ToySweep

WIDTHS = (1, 2, 3, 5, 10, 20, 30, 50)
MEANS = (30.0, 45.0, 60.0, 75.0, 90.0, 91.0, 92.0, 92.5)
STDS = (8.0, 8.0, 6.0, 4.0, 0.4, 0.4, 0.3, 0.3)
REGIMES = registry().get("analyse", "regimes")


def analysed(results: Results, settings: dict[str, Any] | None = None, **family: Any) -> Any:
    chosen = {"families": {"net": {"bases": "net-*", **family}}, "size": "width", **(settings or {})}
    return REGIMES(REGIMES.Settings.model_validate(chosen)).analyse(results)


def sweep(seeds: int = 30, **extra: Any) -> Results:
    """Eight widths with known regimes: stable from width 10 on."""
    made = ToySweep(seeds)
    for width, mean, std in zip(WIDTHS, MEANS, STDS, strict=True):
        accuracies = made.sized(f"net-{width}", width, mean, std)
        if extra.get("prune"):
            made.pruned(f"net-{width}", accuracies, parameters=795 * width + 10)
        if "gap" in extra:
            made.sized(f"qat-{width}", width, 0, 0)
            lost = accuracies - extra["gap"](width) + 0.1 * made.random.standard_normal(seeds)
            made.add(f"qat-{width}", "quantize=qat", lost, parameters=795 * width + 10)
    return made.done()


def test_regimes_of_a_sweep_are_recovered() -> None:
    found = analysed(sweep(prune=True, gap=lambda width: 8 / width), prune=PRUNE, int8={"bases": "qat-*"})
    told = found.quantities
    assert told["net/minimal_stable_size"].value == 10
    assert (told["net/minimal_stable_size"].low, told["net/minimal_stable_size"].high) == (10, 10)
    assert told["net/minimal_stable_parameters"].value == 7960
    assert told["net/regimes"].value == 2
    assert told["net/safe_pruning"].value == 0.5
    assert told["net/flat_end"].value == pytest.approx(0.5, abs=0.03)
    assert told["net/collapse_start"].value == pytest.approx(0.9, abs=0.03)
    assert told["net/pruning_std_growth"].low > 1.3
    assert told["net/int8_gap_at_stable"].value == pytest.approx(0.8, abs=0.1)
    assert told["net/int8_gap_at_largest"].value == pytest.approx(0.16, abs=0.1)
    assert told["net/int8_gap_rank_correlation"].value < -0.9
    assert told["net/int8_gap_smallest_sizes"].value == pytest.approx(6, abs=0.2)
    assert told["net/int8_best_gain"].high < 0
    assert told["net/std_ratio@1000"].high < 0.5
    assert told["net/diverged"].value == 0
    assert len(found.figures) == 3
    assert [row[6] for row in found.tables[1].rows] == ["unstable"] * 4 + ["stable"] * 4


def test_the_gap_is_paired_by_seed() -> None:
    """Pairs share their noise of 0.4 points: the interval of the gap is that of the 0.1 that they do not share."""
    gap = analysed(sweep(gap=lambda _: 1), int8={"bases": "qat-*"}).quantities["net/int8_gap_at_stable"]
    assert gap.high - gap.low == pytest.approx(2 * 2.045 * 0.1 / 30**0.5, rel=0.3)


@pytest.mark.slow
@pytest.mark.parametrize("seeds", [5, 30])
def test_intervals_cover_the_truth(seeds: int) -> None:
    """Of 200 sweeps, at least 90 % of the 95 % intervals hold the true value."""
    hits = dict.fromkeys(("minimal_stable_size", "int8_gap_at_largest", "safe_pruning", "flat_end"), 0)
    truth = dict(zip(hits, (10, 0.7, 0.4, 0.45), strict=True))
    for generator in range(200):
        made = ToySweep(seeds, generator)
        for width, mean, std in ((3, 60, 6), (5, 86, 1.2), (10, 89, 0.6), (30, 91, 0.5)):
            accuracies = made.sized(f"net-{width}", width, mean, std)
            lost = accuracies - 0.7 + 0.3 * made.random.standard_normal(seeds)
            made.add(f"net-{width}", "quantize=qat", lost, parameters=9)
            if width == 30:
                made.pruned("net-30", accuracies, 0.45, 0.85)
        told = analysed(made.done(), {"resamples": 400, "within": 6}, prune=PRUNE, int8={}).quantities
        for name, value in truth.items():
            hits[name] += _held(told[f"net/{name}"], value)
    assert min(hits.values()) >= 180, hits


def _held(quantity: Any, truth: float) -> bool:
    high = np.inf if quantity.high is None else quantity.high
    return quantity.low is not None and quantity.low - 1e-6 <= truth <= high + 1e-6
