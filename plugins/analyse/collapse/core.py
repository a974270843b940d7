"""Where a curve of accuracies collapses: arrays whose last axis runs over rising ratios, the unpruned network first."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def near_chance(accuracy: Floats, chance: float, margin: float) -> Ints:
    """Index of the first ratio with an accuracy at most `margin` above `chance`; the number of ratios if none is."""
    fallen = accuracy <= chance + margin + 1e-9
    return np.where(fallen.any(axis=-1), fallen.argmax(axis=-1), accuracy.shape[-1])


def behind_largest_drop(accuracy: Floats) -> Ints:
    """Index of the ratio behind the largest fall from one ratio to the next; the number of ratios if none falls."""
    falls = -np.diff(accuracy, axis=-1)
    return np.where(falls.max(axis=-1) > 0, 1 + falls.argmax(axis=-1), accuracy.shape[-1])


def largest_drop(accuracy: Floats) -> Any:
    """The largest fall from one ratio to the next."""
    return -np.diff(accuracy, axis=-1).min(axis=-1)
