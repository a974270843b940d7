"""Layers that only store their weight in fewer bits: they compute in fp32 with the weight as it is meant."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from prunery.errors import PruneryError
from prunery.formats import BITS, NEAREST, GridSettings, blocks, is_integer
from prunery.stored import DTYPES, StoredConv2d, StoredWeight, spread

SMALLEST_SCALE = 1e-8
"""Least scale of a weight, for channels without one that is not zero."""


@dataclass(frozen=True)
class WeightPlan:
    """What a quantizer decided for one layer whose activations stay in fp32.

    `format` is fp16, bf16, int8 or int4. `weight` is of the format's type (int4: int8 from -8 to 7). Integers have a
    `scale` per output channel, or per `group` of a channel's weights: real = integer * scale.
    """

    format: str
    weight: Tensor
    scale: Float[Tensor, "out *groups"] | None = None
    group: int | None = None


# --- rounding --------------------------------------------------------------------------------------------------------


def weight_plans(
    weights: Mapping[str, Float[Tensor, "out ..."]], formats: Mapping[str, str], grid: GridSettings = NEAREST
) -> dict[str, WeightPlan]:
    """Plans for the weights that `formats` names, but for those in fp32: rounded to nearest, scaled by the largest.

    This is what turns any choice of formats, by hand or by an allocation, into what a `Quantizer` answers.
    Raises `PruneryError` naming a layer whose weights would all be clipped to nothing.
    """
    chosen = {key: format_ for key, format_ in formats.items() if format_ != "fp32"}
    for key, format_ in chosen.items():
        if grid.clip is not None and is_integer(format_):
            check_clip(key, weights[key], grid.clip)
    return {key: weight_plan(weights[key], format_, grid) for key, format_ in chosen.items()}


def weight_plan(weight: Float[Tensor, "out ..."], format_: str, grid: GridSettings = NEAREST) -> WeightPlan:
    """A weight rounded to the nearest value of its format (half to even)."""
    if not is_integer(format_):
        return WeightPlan(format_, weight.to(DTYPES[format_]))
    integers, scale = rounded(weight, BITS[format_], grid)
    return WeightPlan(format_, integers.to(torch.int8), scale, grid.group)


def rounded(
    weight: Float[Tensor, "out ..."], bits: int, grid: GridSettings
) -> tuple[Float[Tensor, "out ..."], Float[Tensor, "out *groups"]]:
    """Whole numbers (in floating point) and their scales; see `weight_scale` and the limits of `GridSettings`."""
    scale = weight_scale(weight, bits, grid)
    most = 2 ** (bits - 1) - 1
    least = -most if grid.lowest == "symmetric" else -most - 1
    return torch.clamp(torch.round(weight / spread(scale, weight.shape, grid.group)), least, most), scale


def weight_scale(weight: Float[Tensor, "out ..."], bits: int, grid: GridSettings) -> Float[Tensor, "out *groups"]:
    """The largest |w| of each channel or group, but no more than the layer's percentile, at the last integer."""
    largest = _in_groups(weight.abs().flatten(1), grid.group).amax(-1)
    if grid.clip is not None:
        largest = torch.minimum(largest, percentile(weight, grid.clip))
    return (largest / (2 ** (bits - 1) - 1)).clamp_min(SMALLEST_SCALE)


def check_clip(key: str, weight: Float[Tensor, "out ..."], share: float) -> None:
    """Raise `PruneryError` if this percentile of |w| is zero and the weight is not: clipping would wipe it out."""
    zeros = weight.numel() - int(weight.count_nonzero())
    if zeros < weight.numel() and zeros >= max(1, ceil(share / 100 * weight.numel())):
        raise PruneryError(
            f"{zeros / weight.numel():.1%} of {key} are zero, so clipped at percentile {share:g} nothing of it is "
            "left: clip at a higher one, or not at all"
        )


def percentile(weight: Float[Tensor, "..."], share: float) -> Float[Tensor, ""]:
    """The least |w| that `share` percent of the |w| do not exceed; zeros count."""
    place = max(1, ceil(share / 100 * weight.numel()))
    return weight.abs().flatten().kthvalue(place).values


def _in_groups(rows: Float[Tensor, "out columns"], group: int | None) -> Float[Tensor, "out *groups size"]:
    if group is None:
        return rows
    count, size = blocks(rows.shape, group), min(group, rows.shape[1])
    return F.pad(rows, (0, count * size - rows.shape[1])).unflatten(1, (count, size))


# --- layers ----------------------------------------------------------------------------------------------------------


class WeightLinear(StoredWeight):
    """A `Linear` with a stored weight."""

    def forward(self, input: Float[Tensor, "... in"]) -> Float[Tensor, "... out"]:
        """The product in fp32."""
        return F.linear(input, self.real_weight(), self.real_bias())


class WeightConv2d(StoredConv2d):
    """A `Conv2d` with a stored weight."""

    def forward(self, input: Float[Tensor, "batch in h w"]) -> Float[Tensor, "batch out h2 w2"]:
        """The convolution in fp32."""
        return self.product(self.padded(input))


def weight_layer(source: nn.Module, format_: str, group: int | None = None) -> WeightLinear | WeightConv2d:
    """The counterpart of a float layer in a format, not filled yet."""
    if isinstance(source, nn.Conv2d):
        return WeightConv2d(source, format_, group)
    assert isinstance(source, nn.Linear)
    return WeightLinear(source, format_, group)
