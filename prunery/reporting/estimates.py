"""Figures with bootstrap intervals as quantities, and as texts in tables."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from prunery.findings import Quantity
from prunery.reporting import resampling

Floats = NDArray[np.float64]
POINTS = "percentage points"
ONE_SEED = "one seed gives no interval"
NONE = "–"  # noqa: RUF001


def estimate(value: Any, draws: Any, count: int, confidence: float, unit: str = "", lacking: str = "") -> Quantity:
    """A figure with the expanded percentile interval of its resamples.

    Without a value (NaN) it is missing, for the reason `lacking`; one seed has no interval.
    """
    if not np.isfinite(value):
        return Quantity(count=count, unit=unit, reason=lacking or "there is none")
    if count < 2 or np.isnan(draws).all():
        return Quantity(value=float(value), count=count, unit=unit, reason=ONE_SEED)
    low, high = resampling.interval(draws, count, confidence)
    return Quantity(value=float(value), low=low, high=high, count=count, unit=unit)


def first_of(
    grid: Floats, index: int, draws: NDArray[np.int64], count: int, confidence: float, unit: str, lacking: str
) -> Quantity:
    """The first of rising values that meets a condition: `index` in the data, `draws` in the resamples.

    An index of `len(grid)` says that none does: the interval is open above where resamples say so, and there is no
    value, for the reason `lacking`, where the data say so.
    """
    low, high = resampling.ranked_interval(draws, count, confidence)
    last = len(grid) - 1
    least, most = float(grid[min(low, last)]), float(grid[high]) if high <= last else None
    if index > last:
        return Quantity(low=least, high=most, count=count, unit=unit, reason=lacking)
    value = float(grid[index])
    # A resample's means and deviations scatter about the data's: where all fall to one side, the value is an end.
    most = None if most is None else max(most, value)
    return Quantity(value=value, low=min(least, value), high=most, count=count, unit=unit)


def quantity_text(quantity: Quantity | None, factor: float = 1, digits: int | None = None) -> str:
    """A figure and, on a line of its own, its interval or why there is none."""
    if quantity is None:
        return NONE

    def shown(value: float) -> str:
        scaled = factor * value
        if digits is not None:
            return f"{scaled:,.{digits}f}"
        return f"{scaled:,.4g}" if abs(scaled) < 1e4 else f"{scaled:,.0f}"

    ends = ["…" if end is None else shown(end) for end in (quantity.low, quantity.high)]
    interval = f"[{', '.join(ends)}]" if quantity.known else ""
    head = NONE if quantity.value is None else shown(quantity.value)
    return "\n".join(filter(None, (head, interval or (quantity.reason if quantity.value is None else ""))))


def paper_text(value: float | None) -> str:
    """A paper's number, as it stands there."""
    if value is None:
        return NONE
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:,.6g}"
