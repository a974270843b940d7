"""Fake quantization: values rounded to an integer grid in floating point, in a way that gradients pass.

Ranges are moving averages of the extremes of each batch (Jacob et al. 2018, section 3.1); a range whose low lies above
its high has seen nothing yet. Every function works on plain tensors, without control flow that depends on values: run
under `torch.func.vmap`, or give values `[R, ...]` and ranges `[R]` for R replicas side by side.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from prunery.formats import BITS, GridSettings, is_integer
from prunery.stored import DTYPES, spread
from prunery.weightonly import rounded

SMALLEST_WEIGHT_STEP = 2.0**-20
"""Least scale of a weight; runtimes store biases as int32 multiples of the scales of input and weight."""
SMALLEST_CHANNEL_STEP = 2.0**-10
"""Least scale of a channel relative to the layer's largest, for the same reason."""
SMALLEST_STEP = 2.0**-23
"""Least scale of an activation."""


@dataclass(frozen=True)
class WeightRounding:
    """How a layer rounds that only stores its weight in a `format`: fields as in `prunery.formats.GridSettings`."""

    format: str
    group: int | None = None
    clip: float | None = None
    lowest: str = "symmetric"

    @property
    def grid(self) -> GridSettings:
        """The part about integers."""
        fields = {"group": self.group, "clip": self.clip, "lowest": self.lowest}
        return GridSettings.model_validate(fields)


@dataclass(frozen=True)
class Rounding:
    """How a layer with integer activations rounds. `rectified` and `source` are its wiring (`prunery.wiring`).

    A layer with a source has no input range: what comes in lies on the source's output grid already.
    """

    bits: int = 8
    averaging: float = 0.01
    weight_scales: str = "tensor"
    zero_point: str = "fitted"
    rectified: bool = False
    source: str | None = None


# --- ranges and grids ------------------------------------------------------------------------------------------------


@torch.no_grad()
def observe(values: Tensor, low: Tensor, high: Tensor, averaging: float, rectified: bool = False) -> None:
    """Move a range, in place, by the share `averaging` towards the extremes of a batch; an empty one becomes them.

    `values` have the axes of the range first; `rectified`: count them as they leave a ReLU.
    """
    axes = tuple(range(low.dim(), values.dim()))
    least, most = values.amin(axes), values.amax(axes)
    if rectified:
        least, most = least.clamp_min(0), most.clamp_min(0)
    empty = low > high
    low.copy_(torch.where(empty, least, torch.lerp(low, least, averaging)))
    high.copy_(torch.where(empty, most, torch.lerp(high, most, averaging)))


def weight_scale(low: Tensor, high: Tensor, rounding: Rounding) -> Tensor:
    """The scale of a symmetric grid -2^(b-1)..2^(b-1)-1 over a range: its farther end over (2^b - 1) / 2.

    The largest weight so lies half a step beyond the last positive integer (PyTorch's qint8, per tensor, symmetric).
    """
    reach = torch.maximum(-low.clamp(max=0), high.clamp(min=0))
    scale = (reach / ((2**rounding.bits - 1) / 2)).clamp_min(SMALLEST_WEIGHT_STEP)
    if rounding.weight_scales == "channel":
        scale = torch.maximum(scale, scale.amax(-1, keepdim=True) * SMALLEST_CHANNEL_STEP)
    return scale


def activation_grid(low: Tensor, high: Tensor, rounding: Rounding) -> tuple[Tensor, Tensor]:
    """Scale and zero point of the affine grid 0..2^b-1 over a range, widened to hold zero, which it then holds exactly.

    `zero_point` rounded: the scale is (high - low) / (2^b - 1) and the zero point is rounded (PyTorch's quint8), so an
    end may be clipped by half a step. fitted: of the two integers beside the ideal zero point the one whose scale is
    finer, where the scale is the least that clips neither end.
    """
    levels = 2**rounding.bits - 1
    low, high = low.clamp(max=0), high.clamp(min=0)
    scale = (high - low) / levels
    scale = torch.where(high > low, scale.clamp_min(SMALLEST_STEP), 1.0)
    ideal = -low / scale
    if rounding.zero_point == "rounded":
        return scale, ideal.round().clamp(0, levels)
    lower, upper = ideal.floor().clamp(0, levels), ideal.ceil().clamp(0, levels)
    finer, coarser = _covering(low, high, lower, levels), _covering(low, high, upper, levels)
    scale = torch.where(high > low, torch.minimum(finer, coarser).clamp_min(SMALLEST_STEP), 1.0)
    return scale, torch.where(finer <= coarser, lower, upper)


def _covering(low: Tensor, high: Tensor, zero_point: Tensor, levels: int) -> Tensor:
    """The least scale that brings both ends of a range onto the grid; infinite if an end has no integers."""
    below = torch.where(low < 0, -low / zero_point, 0.0)
    above = torch.where(high > 0, high / (levels - zero_point), 0.0)
    return torch.maximum(below, above)


# --- rounding that lets gradients through ----------------------------------------------------------------------------


def fake_quantize(values: Tensor, scale: Tensor, least: Tensor | int, most: Tensor | int) -> Tensor:
    """Values rounded (half to even) to multiples of `scale`, from `least` to `most` times it.

    The gradient is that of the identity inside of this range and zero outside (straight-through, Bengio et al. 2013).
    `scale` and the limits have the leading axes of `values`.
    """
    with torch.no_grad():
        scale = _spread(scale, values)
        steps = (values / scale).round_()
        integers = torch.clamp(steps, _spread(least, values), _spread(most, values))
        inside = steps == integers
    return _straight_through(integers.mul_(scale), values, inside)


def _straight_through(rounded: Tensor, values: Tensor, inside: Tensor | float = 1.0) -> Tensor:
    """The value of `rounded` with the gradient of `values`, where they lie inside."""
    if not torch.is_grad_enabled():
        return rounded
    return rounded + (values - values.detach()) * inside  # exactly `rounded`: what is added is zero


def fake_stored(weight: Float[Tensor, "out ..."], rounding: WeightRounding) -> Float[Tensor, "out ..."]:
    """A weight as it will be meant once it is stored in a format, to the bit; straight-through, but where clipped."""
    if not is_integer(rounding.format):
        return fake_cast(weight, rounding.format)
    with torch.no_grad():
        integers, scale = rounded(weight, BITS[rounding.format], rounding.grid)
        step = spread(scale, weight.shape, rounding.group)
        inside = torch.round(weight / step) == integers
    return _straight_through(integers * step, weight, inside)


def fake_cast(values: Tensor, format_: str) -> Tensor:
    """Values cast to fp16 or bf16 and back; straight-through."""
    return _straight_through(values.detach().to(DTYPES[format_]).to(values.dtype), values)


def _spread(figure: Any, values: Tensor) -> Any:
    """A figure per leading axis, shaped to broadcast against values."""
    if not isinstance(figure, Tensor):
        return torch.as_tensor(figure, dtype=values.dtype, device=values.device)
    return figure.reshape(figure.shape + (1,) * (values.dim() - figure.dim()))


def simulated(
    product: Callable[[Tensor, Tensor], Tensor],
    inputs: Tensor,
    weight: Float[Tensor, "... out _"],
    ranges: Mapping[str, Tensor],
    rounding: Rounding,
    training: bool,
) -> Tensor:
    """The output of a simulating layer, whose `product` of input and weight is a linear map or a convolution.

    `ranges` are `low`, `high`, ... as in the module's docstring; they move in place if `training`.
    """
    if training:
        observe(weight, ranges["low"], ranges["high"], rounding.averaging)
    scale = weight_scale(ranges["low"], ranges["high"], rounding)
    half = 2 ** (rounding.bits - 1)
    weight = fake_quantize(weight, scale, -half, half - 1)
    if rounding.source is None:
        inputs = _activation(inputs, ranges["input_low"], ranges["input_high"], rounding, training, False)
    outputs = product(inputs, weight)
    range_ = ranges["output_low"], ranges["output_high"]
    return _activation(outputs, *range_, rounding, training, rounding.rectified)


def _activation(
    values: Tensor, low: Tensor, high: Tensor, rounding: Rounding, training: bool, rectified: bool
) -> Tensor:
    values = values.to(low.dtype)  # mixed precision computes products in a shorter type
    if training:
        observe(values.detach(), low, high, rounding.averaging, rectified)
    scale, zero_point = activation_grid(low, high, rounding)
    return fake_quantize(values, scale, -zero_point, 2**rounding.bits - 1 - zero_point)
