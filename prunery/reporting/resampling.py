"""The bootstrap of analyses: resampled replicas as weights, so that means and deviations are matrix products.

Intervals are expanded percentile intervals (Hesterberg, "What teachers should know about the bootstrap", The American
Statistician 2015, section 4): the plain ones are too short for few replicas, by sqrt((n - 1) / n) and for want of
Student's t in the place of the normal law. Below five replicas even these fall short, since no resample leaves the
range of the data.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Floats = NDArray[np.float64]


def weights(count: int, resamples: int, generator: np.random.Generator) -> Floats:
    """Shares `[resamples, count]` of each value in samples drawn with replacement; rows sum to 1."""
    drawn = generator.integers(count, size=(resamples, count))
    flat = (drawn + count * np.arange(resamples)[:, None]).ravel()
    return np.bincount(flat, minlength=resamples * count).reshape(resamples, count) / count


def means(shares: Floats, values: Floats) -> Floats:
    """Resampled means `[resamples, ...]` of values `[count, ...]`."""
    return np.tensordot(shares, values, axes=1)


def deviations(shares: Floats, values: Floats) -> Floats:
    """Resampled standard deviations `[resamples, ...]` of values `[count, ...]`; NaN for a single value.

    A resample's variance is on average (n - 1) / n of the sample's: both that and the sample variance's own n - 1 are
    made up for.
    """
    count = len(values)
    if count < 2:
        return np.full((len(shares), *values.shape[1:]), np.nan)
    centred = values - values.mean(axis=0)
    variance = shares @ centred**2 - (shares @ centred) ** 2
    return np.sqrt(np.clip(variance, 0, None)) * (count / (count - 1))


def levels(count: int, confidence: float) -> tuple[float, float]:
    """The quantiles of resampled statistics at which the expanded interval of `count` replicas ends."""
    if count < 2:
        return 0.0, 1.0
    reach = math.sqrt(count / (count - 1)) * stats.t.ppf((1 + confidence) / 2, count - 1)
    tail = float(stats.norm.cdf(-reach))
    return tail, 1 - tail


def interval(draws: Floats, count: int, confidence: float) -> tuple[float, float]:
    """The expanded percentile interval of resampled statistics, NaN left out."""
    low, high = np.nanquantile(draws, levels(count, confidence))
    return float(low), float(high)


def ranked_interval(draws: NDArray[np.int64], count: int, confidence: float) -> tuple[int, int]:
    """The same of a statistic that is an index: both ends are values that were drawn."""
    low, high = np.quantile(draws, levels(count, confidence), method="inverted_cdf")
    return int(low), int(high)


def rank_correlations(x: Floats, y: Floats) -> Floats:
    """Spearman's rho of `x` `[points]` with every row of `y` `[rows, points]`; NaN where a side is constant."""
    first = stats.rankdata(x)
    second = stats.rankdata(y, axis=1)
    a, b = first - first.mean(), second - second.mean(axis=1, keepdims=True)
    below = np.sqrt((a**2).sum() * (b**2).sum(axis=1))
    return np.divide(b @ a, below, out=np.full(len(y), np.nan), where=below > 0)


def correlations(x: Floats, y: Floats) -> Floats:
    """Pearson's r of `x` and `y` along the last axis; NaN where a side is constant."""
    a, b = (side - side.mean(axis=-1, keepdims=True) for side in (x, y))
    below = np.sqrt((a**2).sum(axis=-1) * (b**2).sum(axis=-1))
    shape = np.broadcast_shapes(a.shape, b.shape)[:-1]
    return np.divide((a * b).sum(axis=-1), below, out=np.full(shape, np.nan), where=below > 0)
