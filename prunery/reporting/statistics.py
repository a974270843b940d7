"""The statistics of the report: intervals over seeds, paired differences, Pareto fronts, the Marchenko-Pastur law."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

CONFIDENCE = 0.95
"""Level of every interval of the report."""


@dataclass(frozen=True)
class Interval:
    """A mean, its two-sided 95% interval, and the number of values; one value has no interval."""

    mean: float
    low: float | None
    high: float | None
    count: int

    @property
    def half_width(self) -> float:
        """The longer arm of the interval, 0 where there is none."""
        if self.low is None or self.high is None:
            return 0.0
        return max(self.high - self.mean, self.mean - self.low)


@cache
def t_reach(count: int) -> float:
    """Half the width of the interval of a mean of `count` values, in standard errors; 0 for a single value."""
    return float(stats.t.ppf((1 + CONFIDENCE) / 2, count - 1)) if count > 1 else 0.0


def mean_interval(values: ArrayLike) -> Interval:
    """Student's t interval of the mean of independent values. Raises `ValueError` if there are none."""
    sample = np.asarray(values, dtype=np.float64)
    if sample.size == 0:
        raise ValueError("an interval needs at least one value")
    mean = float(sample.mean())
    if sample.size == 1:
        return Interval(mean, None, None, 1)
    error = float(sample.std(ddof=1)) / math.sqrt(sample.size)
    reach = t_reach(int(sample.size)) * error
    return Interval(mean, mean - reach, mean + reach, int(sample.size))


def clipped(interval: Interval, low: float, high: float) -> Interval:
    """An interval of a bounded quantity, cut at its bounds."""
    if interval.low is None or interval.high is None:
        return interval
    return replace(interval, low=max(interval.low, low), high=min(interval.high, high))


def rank_correlation(x: ArrayLike, y: ArrayLike) -> float | None:
    """Spearman's rho; None where it is undefined (fewer than three points, or one side constant)."""
    first, second = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    if first.size < 3 or np.ptp(first) == 0 or np.ptp(second) == 0:
        return None
    return float(stats.spearmanr(first, second).statistic)


def signed_rank(differences: ArrayLike) -> tuple[float, float] | None:
    """One-sided p-values (shift above 0, below 0) of Wilcoxon's signed-rank test; None if all differences are 0."""
    sample = np.asarray(differences, dtype=np.float64)
    if not sample.any():
        return None
    above, below = (stats.wilcoxon(sample, alternative=side).pvalue for side in ("greater", "less"))
    return float(above), float(below)


def rounded(values: Iterable[float]) -> list[float]:
    """Six significant digits: enough for any screen, and equal on every machine."""
    return [float(f"{value:.6g}") for value in values]


def pareto_front(cost: Sequence[float], gain: Sequence[float]) -> list[int]:
    """Indices of the points that no other point beats (lower cost, higher gain), by rising cost."""
    front: list[int] = []
    for index in sorted(range(len(cost)), key=lambda i: (cost[i], -gain[i])):
        if not front or gain[index] > gain[front[-1]]:
            front.append(index)
    return front


def marchenko_pastur(x: ArrayLike, gamma: float, variance: float) -> NDArray[np.float64]:
    """Density of the eigenvalues of W W^T / n for a p x n matrix of variance sigma^2, gamma = p / n <= 1.

    f(x) = sqrt((x - a)(b - x)) / (2 pi gamma sigma^2 x) on [a, b] = sigma^2 (1 -+ sqrt(gamma))^2, 0 outside
    (Marchenko and Pastur 1967).
    """
    points = np.asarray(x, dtype=np.float64)
    low, high = (variance * (1 + sign * math.sqrt(gamma)) ** 2 for sign in (-1, 1))
    inside = (points > low) & (points < high) & (points > 0)
    density = np.zeros_like(points)
    held = points[inside]
    density[inside] = np.sqrt((held - low) * (high - held)) / (2 * math.pi * gamma * variance * held)
    return density
