"""Integers and grids of one layer."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float, Int
from torch import Tensor

from prunery.calibrate import histogram_quantile
from prunery.integer import Affine, IntegerPlan
from prunery.weightonly import percentile

if TYPE_CHECKING:
    from . import PtqSettings

SMALLEST_SCALE = 2.0**-10
"""Least scale of a channel relative to the layer's largest. Runtimes store a bias as an int32 multiple of the scales of
input and weight; a nearly dead channel's own scale would make that overflow."""

SMALLEST_STEP = 2.0**-40
"""Least scale of an activation, far below what matters: the scale of a bias is this one times a weight's."""


def layer_plan(weight: Float[Tensor, "out ..."], row: Mapping[str, Tensor], settings: PtqSettings) -> IntegerPlan:
    """The plan of one layer from its calibrated row."""
    clipping = settings.range == "percentile"
    reach = percentile(weight, settings.percentile) if clipping and settings.clip_weights else None
    integers, scale = symmetric_channels(weight, settings.bits, reach)
    share = settings.percentile / 100 if clipping else 1.0
    grids = []
    for side in ("input", "output"):
        if settings.activations == "symmetric":
            grids.append(symmetric_grid(magnitude(row, side, share), settings.bits))
        else:
            grids.append(grid(*value_range(row, side, share), settings.bits))
    return IntegerPlan(integers, scale, grids[0], grids[1], settings.bits)


def symmetric_channels(
    weight: Float[Tensor, "out ..."], bits: int = 8, reach: Float[Tensor, ""] | None = None
) -> tuple[Int[Tensor, "out ..."], Float[Tensor, " out"]]:
    """Integers -m..m, m = 2^(b-1) - 1, and one scale per output channel: weight = integers * scale.

    They are off by at most scale / 2, where weights do not lie beyond `reach`.
    """
    most = 2 ** (bits - 1) - 1
    largest = weight.flatten(1).abs().amax(1)
    scale = (largest if reach is None else torch.minimum(largest, reach)) / most
    scale = scale.clamp_min(scale.max() * SMALLEST_SCALE)
    scale = torch.where(scale > 0, scale, 1.0)
    steps = weight / scale.reshape(-1, *[1] * (weight.dim() - 1))
    return steps.round().clamp(-most, most).to(torch.int8), scale


# --- ranges of activations -------------------------------------------------------------------------------------------


def value_range(row: Mapping[str, Tensor], side: str, share: float) -> tuple[float, float]:
    """Lowest and highest value of a layer's `input` or `output`: its extremes, or where `share` of the values end."""
    low, high = float(row[f"{side}_min"]), float(row[f"{side}_max"])
    if share == 1:
        return low, high
    counts, edges = row[f"{side}_histogram"], row[f"{side}_edges"]
    return max(low, histogram_quantile(counts, edges, 1 - share)), min(high, histogram_quantile(counts, edges, share))


def magnitude(row: Mapping[str, Tensor], side: str, share: float) -> float:
    """The largest absolute value of a layer's `input` or `output`, or the one that `share` of them do not exceed.

    From the histogram then: off by less than half a bin's width.
    """
    largest = max(-float(row[f"{side}_min"]), float(row[f"{side}_max"]), 0.0)
    if share == 1:
        return largest
    counts, edges = row[f"{side}_histogram"], row[f"{side}_edges"].double()
    width = float(edges[1] - edges[0]) / len(counts)
    middles = (float(edges[0]) + width * (torch.arange(len(counts)) + 0.5)).abs()
    order = middles.argsort()
    place = int(torch.searchsorted(counts[order].cumsum(0), math.ceil(share * int(counts.sum()))))
    return min(largest, float(middles[order[place]]))


# --- grids -----------------------------------------------------------------------------------------------------------


def grid(low: float, high: float, bits: int = 8) -> Affine:
    """The grid over a range, widened to hold zero, which it represents exactly (padding and ReLU rely on it).

    Of the two integers beside the ideal zero point it takes the one with the finer scale that clips neither end. With
    the ideal scale, (high - low) / 255, images normalised by mean and deviation 0.5 would fall halfway between two
    integers, every pixel of them, and each runtime breaks ties its own way.
    """
    low, high, levels = min(low, 0.0), max(high, 0.0), 2**bits - 1
    if low == high:
        return Affine(1.0, 0)
    ideal = -low / (high - low) * levels
    places = math.floor(ideal), math.ceil(ideal)
    scale, zero_point = min((_covering(low, high, place, levels), place) for place in places)
    return _affine(scale, zero_point)


def symmetric_grid(reach: float, bits: int = 8) -> Affine:
    """The grid that reaches as far below zero as above: zero is its integer 2^(b-1), `reach` its last one."""
    half = 2 ** (bits - 1)
    return _affine(reach / (half - 1), half) if reach else Affine(1.0, half)


def _affine(scale: float, zero_point: int) -> Affine:
    return Affine(max(float(torch.tensor(scale, dtype=torch.float32)), SMALLEST_STEP), zero_point)


def _covering(low: float, high: float, zero_point: int, levels: int) -> float:
    """The least scale that brings both ends of a range onto the grid; infinite if an end has no integers."""
    steps = ((-low, zero_point), (high, levels - zero_point))
    return max(end / count if count else math.inf for end, count in steps if end > 0)
