"""The definitions of the regimes, on arrays whose last axis runs over sizes, smallest first; others are resamples."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
UNSTABLE, STABLE, OVERFIT = 0, 1, 2


def minimal_stable(mean: Floats, std: Floats, largest_std: float, within: float) -> Ints:
    """Index of the smallest size from which on every size is stable; the number of sizes if there is none.

    A size is stable if its deviation is at most `largest_std` and its mean at most `within` below the best mean.
    """
    with np.errstate(invalid="ignore"):  # one seed has no deviation, and is not stable
        fine = (std <= largest_std) & (mean >= mean.max(axis=-1, keepdims=True) - within)
    onwards = np.logical_and.accumulate(fine[..., ::-1], axis=-1)[..., ::-1]
    return np.where(onwards.any(axis=-1), onwards.argmax(axis=-1), mean.shape[-1])


def falls(mean: Floats, train: Floats) -> Floats:
    """How far each mean lies below the running maximum, 0 where training accuracy has fallen since that maximum.

    Training accuracy that is not known (NaN) counts as fallen.
    """
    highest = np.maximum.accumulate(mean, axis=-1)
    places = np.broadcast_to(np.arange(mean.shape[-1]), mean.shape)
    peak = np.maximum.accumulate(np.where(mean >= highest, places, 0), axis=-1)
    with np.errstate(invalid="ignore"):
        rising = train >= np.take_along_axis(train, peak, axis=-1)
    return np.where(rising, highest - mean, 0.0)


def regimes(mean: Floats, std: Floats, train: Floats, largest_std: float, within: float, drop: float) -> Ints:
    """Unstable below the minimal stable size; from there on over-fitting where the mean falls by more than `drop`."""
    first = minimal_stable(mean, std, largest_std, within)
    stable = np.arange(mean.shape[-1]) >= first[..., None]
    return np.where(stable, np.where(falls(mean, train) > drop, OVERFIT, STABLE), UNSTABLE)


def safe_index(accuracy: Floats, loss: float) -> Ints:
    """Index of the last of the rising ratios up to which no mean lies more than `loss` below the first one's."""
    fine = accuracy >= accuracy[..., :1] - loss - 1e-9
    return np.logical_and.accumulate(fine, axis=-1).sum(axis=-1) - 1


def split_ratio(std: Floats, sizes: Floats, at: float) -> Floats:
    """Median deviation of the sizes above `at`, divided by that of the others; NaN where a side is empty or zero."""
    return _median_ratio(std, sizes > at, sizes <= at)


def phase_growth(std: Floats, ratios: Floats, phases: tuple[Floats, Floats]) -> Floats:
    """Median deviation of the ratios between two change points, divided by that up to the first one."""
    start, end = phases
    return _median_ratio(std, (ratios > start) & (ratios < end), ratios <= start)


def _median_ratio(values: Floats, first: NDArray[np.bool_], second: NDArray[np.bool_]) -> Floats:
    """Median over the one, divided by that over the other; NaN where either is empty or the latter is zero."""
    if not first.any() or not second.any():
        return np.full(values.shape[:-1], np.nan)
    below = np.median(values[..., second], axis=-1)
    return np.divide(np.median(values[..., first], axis=-1), below, out=np.full(below.shape, np.nan), where=below > 0)
