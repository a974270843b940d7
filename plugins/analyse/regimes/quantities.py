"""The figures of a family that claims may test, by name."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from prunery.findings import Quantity
from prunery.reporting import resampling
from prunery.reporting.estimates import ONE_SEED, POINTS, estimate, first_of

from .core import OVERFIT, STABLE, UNSTABLE, falls, split_ratio

if TYPE_CHECKING:
    from .family import Analysis, Gap, Pruning

Floats = NDArray[np.float64]
NO_SIZE = "no size is stable"


def quantities(analysis: Analysis) -> dict[str, Quantity]:
    """Everything of a family, by the names of the card."""
    parts = (_convergence(analysis), _phases(analysis), _pruned(analysis), _quantized(analysis))
    return {f"{analysis.name}/{name}": quantity for part in parts for name, quantity in part}


def of(
    analysis: Analysis, value: Any, draws: Any, unit: str = "", lacking: str = "", count: int | None = None
) -> Quantity:
    """`estimate` at the level of the settings."""
    number = analysis.count if count is None else count
    return estimate(value, draws, number, analysis.settings.confidence, unit, lacking)


# --- convergence -----------------------------------------------------------------------------------------------------


def minimal(analysis: Analysis, sizes: Floats, unit: str) -> Quantity:
    """The minimal stable size: open above where resamples find none, without a value where the data have none."""
    if analysis.count < 2:
        return Quantity(count=analysis.count, unit=unit, reason="one seed gives no standard deviation")
    lacking = f"{NO_SIZE}: beyond the largest, {sizes[-1]:,.10g}"
    return first_of(
        sizes, analysis.stable, analysis.stables, analysis.count, analysis.settings.confidence, unit, lacking
    )


def _convergence(analysis: Analysis) -> Iterator[tuple[str, Quantity]]:
    curve, unit = analysis.curve, analysis.family.size or analysis.settings.size
    yield "minimal_stable_size", minimal(analysis, analysis.size, unit)
    yield "minimal_stable_parameters", minimal(analysis, analysis.parameters, "parameters")
    top = int(curve.mean.argmax())
    yield "best_accuracy", of(analysis, curve.mean[top], curve.means[:, top], "%")
    yield "regimes", _kinds(analysis)
    drop = falls(curve.mean, curve.train).max(), falls(curve.means, curve.trains).max(axis=1)
    unknown = bool(np.isnan(curve.train).any())
    yield "overfit_drop", of(analysis, np.nan if unknown else drop[0], drop[1], POINTS, "no learning curves were found")
    for at in analysis.settings.split_at:
        ratio, draws = (split_ratio(std, analysis.parameters, at) for std in (curve.std, curve.stds))
        lacking = f"needs sizes on both sides of {at:,.10g} parameters, and deviations above zero below it"
        yield f"std_ratio@{at:g}", of(analysis, ratio, draws, "", lacking)
    yield "diverged", Quantity(value=analysis.diverged, low=analysis.diverged, high=analysis.diverged, unit="replicas")


def _kinds(analysis: Analysis) -> Quantity:
    """How many of the three regimes occur."""
    if analysis.count < 2:
        return Quantity(count=analysis.count, reason="one seed gives no standard deviation")
    kinds = (UNSTABLE, STABLE, OVERFIT)
    value = sum(int((analysis.regimes == kind).any()) for kind in kinds)
    draws = sum((analysis.drawn_regimes == kind).any(axis=1).astype(np.int64) for kind in kinds)
    low, high = resampling.ranked_interval(np.asarray(draws), analysis.count, analysis.settings.confidence)
    return Quantity(value=value, low=min(low, value), high=max(high, value), count=analysis.count)


def _phases(analysis: Analysis) -> Iterator[tuple[str, Quantity]]:
    found, drawn = analysis.growth
    lacking = f"mean accuracy does not rise by {analysis.settings.within:g} points over four sizes or more"
    unit = analysis.family.size or analysis.settings.size
    yield "rise_start", of(analysis, found.start, drawn.start, unit, lacking)
    yield "plateau_start", of(analysis, found.end, drawn.end, unit, lacking)


# --- pruning ---------------------------------------------------------------------------------------------------------


def safe_pruning(pruning: Pruning, confidence: float) -> Quantity:
    """The safe ratio of one size, with its interval."""
    value = float(pruning.ratios[pruning.safe])
    if pruning.count < 2:
        return Quantity(value=value, count=pruning.count, reason=ONE_SEED)
    ends = resampling.ranked_interval(pruning.safes, pruning.count, confidence)
    low, high = (float(pruning.ratios[end]) for end in ends)
    return Quantity(value=value, low=min(low, value), high=max(high, value), count=pruning.count)


def _pruned(analysis: Analysis) -> Iterator[tuple[str, Quantity]]:
    at, confidence = analysis.pruned_at, analysis.settings.confidence
    if not any(analysis.pruning):
        return
    pruning = None if at is None else analysis.pruning[at]
    names = ("safe_pruning", "flat_end", "collapse_start", "pruning_std_growth")
    if pruning is None:
        yield from ((name, Quantity(reason=NO_SIZE)) for name in names)
    else:
        yield "safe_pruning", safe_pruning(pruning, confidence)
        lacking = f"accuracy does not fall by {analysis.settings.pruning_loss:g} points"
        for name, value, draws in zip(names[1:3], pruning.phases, pruning.drawn_phases, strict=True):
            yield name, of(analysis, value, draws, "", lacking, pruning.count)
        lacking = "a phase holds no ratio, or nothing varies in the flat one"
        yield names[3], of(analysis, *pruning.growth, "", lacking, pruning.count)
    yield "safe_pruning_rank_correlation", _safe_correlation(analysis)


def _safe_correlation(analysis: Analysis) -> Quantity:
    """Of size and safe ratio, over the stable sizes: an unstable network has nothing to lose."""
    held = [(index, each) for index, each in enumerate(analysis.pruning) if each and index >= analysis.stable]
    if len(held) < 3:
        return Quantity(reason="needs three stable sizes that were pruned")
    sizes = analysis.size[[index for index, _ in held]]
    values = np.array([[each.ratios[each.safe] for _, each in held]])
    draws = np.stack([each.ratios[each.safes] for _, each in held], axis=1)
    return _correlation(analysis, sizes, values, draws, "safe ratios", min(each.count for _, each in held))


def _correlation(analysis: Analysis, sizes: Floats, values: Floats, draws: Floats, what: str, count: int) -> Quantity:
    """Spearman's rho with size; missing where it is not defined in the data or in half of the resamples."""
    (value,), drawn = resampling.rank_correlations(sizes, values), resampling.rank_correlations(sizes, draws)
    lacking = f"all {what} are equal"
    if np.isnan(drawn).mean() > 0.5:
        return Quantity(count=count, reason=lacking)
    return of(analysis, value, drawn, "", lacking, count)


# --- eight bits ------------------------------------------------------------------------------------------------------


def _quantized(analysis: Analysis) -> Iterator[tuple[str, Quantity]]:
    held = [(index, gap) for index, gap in enumerate(analysis.gaps) if gap]
    if not held:
        return
    gaps, count = [gap for _, gap in held], min(gap.count for _, gap in held)
    stable = analysis.gaps[analysis.stable] if analysis.stable < len(analysis.sizes) else None
    lacking = NO_SIZE if analysis.stable == len(analysis.sizes) else "the minimal stable size has no 8-bit network"
    yield "int8_gap_at_stable", gap_quantity(analysis, stable) if stable else Quantity(unit=POINTS, reason=lacking)
    yield "int8_gap_at_largest", gap_quantity(analysis, gaps[-1])
    smallest = gaps[: -(-len(gaps) // 4)]
    mean = np.mean([gap.value for gap in smallest]), np.mean([gap.draws for gap in smallest], axis=0)
    yield "int8_gap_smallest_sizes", of(analysis, *mean, POINTS, count=count)
    yield "int8_best_gain", _best_gain(analysis, gaps, count)
    if len(gaps) < 3:
        yield "int8_gap_rank_correlation", Quantity(count=count, reason="needs three sizes with 8-bit networks")
        return
    sizes, values = analysis.size[[index for index, _ in held]], np.array([[gap.value for gap in gaps]])
    draws = np.stack([gap.draws for gap in gaps], axis=1)
    yield "int8_gap_rank_correlation", _correlation(analysis, sizes, values, draws, "gaps", count)


def gap_quantity(analysis: Analysis, gap: Gap) -> Quantity:
    """An 8-bit gap with its interval."""
    return of(analysis, gap.value, gap.draws, POINTS, count=gap.count)


def _best_gain(analysis: Analysis, gaps: list[Gap], count: int) -> Quantity:
    """The largest int8 - fp32 over the sizes.

    Student's t intervals that hold for all sizes at once (Bonferroni): the largest of the true gains lies between the
    largest of their lower and the largest of their upper ends, whichever size it is of.
    """
    value = max(-gap.value for gap in gaps)
    if any(gap.count < 2 for gap in gaps):
        return Quantity(value=value, count=count, unit=POINTS, reason=ONE_SEED)
    level = (1 - analysis.settings.confidence) / (2 * len(gaps))
    reach = [float(stats.t.ppf(1 - level, gap.count - 1)) * gap.error for gap in gaps]
    low, high = (max(-gap.value + sign * arm for gap, arm in zip(gaps, reach, strict=True)) for sign in (-1, 1))
    return Quantity(value=value, low=low, high=high, count=count, unit=POINTS)
