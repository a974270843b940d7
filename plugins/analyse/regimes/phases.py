"""Three phases of a curve: level, straight slope, level; both change points by least squares over a grid.

This is segmented regression (Hudson, "Fitting segmented curves whose join points have to be estimated", JASA 1966)
with the outer slopes held at zero; with the first point at the left end it is the linear-plateau model of dose and
response.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
STEPS = 40
"""Intervals of the grid of change points."""


class Phases(NamedTuple):
    """Where the slope begins and ends (NaN where there is none), `[...]` like the curves that were fitted."""

    start: Floats
    end: Floats


def three_phases(x: Floats, y: Floats, rising: bool, least: float = 0.0) -> Phases:
    """The change points of curves `y` `[..., points]` over `x`, which rises.

    A curve whose ends, first mean to last, do not rise (or fall) by more than `least` has none. Of equally good
    fits the one with the longest slope is taken: between two points nothing tells where a step lies.
    """
    curves = y.reshape(-1, len(x))
    starts, ends = _grid(x)
    shapes = np.clip((x - starts[:, None]) / (ends - starts)[:, None], 0, 1)
    shapes -= shapes.mean(axis=1, keepdims=True)
    norms = np.sqrt((shapes**2).sum(axis=1))
    centred = (curves - curves.mean(axis=1, keepdims=True)) * (1 if rising else -1)
    fit = centred @ (shapes / norms[:, None]).T  # its square is what the fit takes off the sum of squares
    chosen = (fit >= fit.max(axis=1, keepdims=True) * (1 - 1e-9)).argmax(axis=1)
    height = fit[np.arange(len(curves)), chosen] / norms[chosen]
    none = height <= max(least, 1e-9)
    found = (np.where(none, np.nan, values[chosen]).reshape(y.shape[:-1]) for values in (starts, ends))
    return Phases(*found)


def _grid(x: Floats) -> tuple[Floats, Floats]:
    """Every pair of change points, the longest slope first."""
    points = np.linspace(x[0], x[-1], STEPS + 1)
    first, second = np.triu_indices(len(points), k=1)
    order = np.argsort(-(second - first), kind="stable")
    return points[first[order]], points[second[order]]
