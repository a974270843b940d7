"""Integers and grids of one layer."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from jaxtyping import Float, Int
from torch import Tensor

from prunery.calibrate import histogram_quantile
from prunery.integer import Affine, IntegerPlan

WEIGHT_LIMIT = 127
"""Largest integer of a weight; -128 is left out, so that the grid is symmetric."""
SMALLEST_SCALE = 2.0**-10
"""Least scale of a channel relative to the layer's largest. Runtimes store a bias as an int32 multiple of the scales of
input and weight; a nearly dead channel's own scale would make that overflow."""

SMALLEST_STEP = 2.0**-40
"""Least scale of an activation, far below what matters: the scale of a bias is this one times a weight's."""


def layer_plan(weight: Float[Tensor, "out ..."], row: Mapping[str, Tensor], share: float) -> IntegerPlan:
    """The plan of one layer from its calibrated row; `share` 1 takes the extremes as range, less clips both tails."""
    integers, scale = symmetric_channels(weight)
    return IntegerPlan(integers, scale, *(grid(*value_range(row, side, share)) for side in ("input", "output")))


def symmetric_channels(weight: Float[Tensor, "out ..."]) -> tuple[Int[Tensor, "out ..."], Float[Tensor, " out"]]:
    """Integers -127..127 and one scale per output channel: weight = integers * scale, off by at most scale / 2."""
    scale = weight.flatten(1).abs().amax(1) / WEIGHT_LIMIT
    scale = scale.clamp_min(scale.max() * SMALLEST_SCALE)
    scale = torch.where(scale > 0, scale, 1.0)
    steps = weight / scale.reshape(-1, *[1] * (weight.dim() - 1))
    return steps.round().clamp(-WEIGHT_LIMIT, WEIGHT_LIMIT).to(torch.int8), scale


def value_range(row: Mapping[str, Tensor], side: str, share: float) -> tuple[float, float]:
    """Lowest and highest value of a layer's `input` or `output`: its extremes, or where `share` of the values end."""
    low, high = float(row[f"{side}_min"]), float(row[f"{side}_max"])
    if share == 1:
        return low, high
    counts, edges = row[f"{side}_histogram"], row[f"{side}_edges"]
    return max(low, histogram_quantile(counts, edges, 1 - share)), min(high, histogram_quantile(counts, edges, share))


def grid(low: float, high: float) -> Affine:
    """The 8-bit grid over a range, widened to hold zero, which it represents exactly (padding and ReLU rely on it).

    Of the two integers beside the ideal zero point it takes the one with the finer scale that clips neither end. With
    the ideal scale, (high - low) / 255, images normalised by mean and deviation 0.5 would fall halfway between two
    integers, every pixel of them, and each runtime breaks ties its own way.
    """
    low, high = min(low, 0.0), max(high, 0.0)
    if low == high:
        return Affine(1.0, 0)
    ideal = -low / (high - low) * 255
    scale, zero_point = min((_covering(low, high, place), place) for place in (math.floor(ideal), math.ceil(ideal)))
    return Affine(max(float(torch.tensor(scale, dtype=torch.float32)), SMALLEST_STEP), zero_point)


def _covering(low: float, high: float, zero_point: int) -> float:
    """The least scale that brings both ends of a range onto the grid; infinite if an end has no integers."""
    steps = ((-low, zero_point), (high, 255 - zero_point))
    return max(end / count if count else math.inf for end, count in steps if end > 0)
