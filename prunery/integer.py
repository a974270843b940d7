"""Layers that hold integers: what `quantize` puts in the place of `Linear` and `Conv2d`.

A layer's weight stays under its own key, as int8; its companions carry the suffixes `/scale` (per output channel),
`/input_scale`, `/input_zero_point`, `/output_scale`, `/output_zero_point`. Activations are unsigned 8-bit, affine, one
scale per tensor; biases stay in floating point. In eager mode the integers are scaled back and computed in fp32 (the
reference); exported as ONNX the same steps become QuantizeLinear and DequantizeLinear nodes, which a runtime replaces
by integer kernels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn


@dataclass(frozen=True)
class Affine:
    """An affine 8-bit grid: real = (integer - zero_point) * scale, integers 0..255."""

    scale: float
    zero_point: int


@dataclass(frozen=True)
class IntegerPlan:
    """What a quantizer decided for one layer. Weights are symmetric per output channel: real = integer * scale."""

    weight: Int[Tensor, "out ..."]
    scale: Float[Tensor, " out"]
    input: Affine
    output: Affine


# --- rounding to a grid and back: as operators while a network is exported, directly otherwise (dispatch costs more) --


def _quantized(values: Tensor, scale: Tensor, zero_point: Tensor) -> Tensor:
    return torch.clamp(torch.round(values / scale) + zero_point, 0, 255)


def _real(integers: Tensor, scale: Tensor, zero_point: Tensor) -> Tensor:
    return (integers.to(scale.dtype) - zero_point) * scale


def _real_channels(integers: Tensor, scale: Tensor) -> Tensor:
    return integers.to(scale.dtype) * scale.reshape(-1, *[1] * (integers.dim() - 1))


@torch.library.custom_op("prunery::quantize_affine", mutates_args=())
def quantize_affine(values: Tensor, scale: Tensor, zero_point: Tensor) -> Tensor:
    """Round to the 8-bit grid (half to even), clamp to 0..255. `scale` (fp32) and `zero_point` (uint8) are scalars."""
    return _quantized(values, scale, zero_point).to(torch.uint8)


@torch.library.custom_op("prunery::dequantize_affine", mutates_args=())
def dequantize_affine(integers: Tensor, scale: Tensor, zero_point: Tensor) -> Tensor:
    """The real values of uint8 integers on the grid."""
    return _real(integers, scale, zero_point)


@torch.library.custom_op("prunery::dequantize_channels", mutates_args=())
def dequantize_channels(integers: Tensor, scale: Tensor) -> Tensor:
    """The real values of int8 weights `[out, ...]`, one scale per output channel (axis 0)."""
    return _real_channels(integers, scale)


@quantize_affine.register_fake
def _(values: Tensor, scale: Tensor, zero_point: Tensor) -> Tensor:
    return torch.empty_like(values, dtype=torch.uint8)


@dequantize_affine.register_fake
def _(integers: Tensor, scale: Tensor, zero_point: Tensor) -> Tensor:
    return torch.empty_like(integers, dtype=scale.dtype)


@dequantize_channels.register_fake
def _(integers: Tensor, scale: Tensor) -> Tensor:
    return torch.empty_like(integers, dtype=scale.dtype)


# --- layers ----------------------------------------------------------------------------------------------------------


class _IntegerLayer(nn.Module):
    """Buffers and grids shared by the integer layers. A float layer's bias and mask carry over."""

    bias: nn.Parameter | None

    def __init__(self, source: Any) -> None:
        super().__init__()
        weight, device = source.weight, source.weight.device
        self.register_buffer("weight", torch.zeros(weight.shape, dtype=torch.int8, device=device))
        self.register_buffer("weight/scale", torch.ones(weight.shape[0], device=device))
        for side in ("input", "output"):
            self.register_buffer(f"weight/{side}_scale", torch.tensor(1.0, device=device))
            self.register_buffer(f"weight/{side}_zero_point", torch.tensor(0, dtype=torch.uint8, device=device))
        self.register_parameter("bias", source.bias)
        if "weight/mask" in source._buffers:
            self.register_buffer("weight/mask", source.get_buffer("weight/mask"))

    def fill(self, plan: IntegerPlan) -> None:
        """Take over a quantizer's decision."""
        self.get_buffer("weight").copy_(plan.weight)
        self.get_buffer("weight/scale").copy_(plan.scale)
        for side, grid in (("input", plan.input), ("output", plan.output)):
            self.get_buffer(f"weight/{side}_scale").fill_(grid.scale)
            self.get_buffer(f"weight/{side}_zero_point").fill_(grid.zero_point)

    def real_weight(self) -> Float[Tensor, "out ..."]:
        """The weight as the integers mean it."""
        convert = dequantize_channels if torch.compiler.is_exporting() else _real_channels
        return convert(self.get_buffer("weight"), self.get_buffer("weight/scale"))

    def snap(self, values: Tensor, side: str) -> Tensor:
        """Values rounded to this layer's 8-bit grid of its `input` or `output`."""
        grid = self.get_buffer(f"weight/{side}_scale"), self.get_buffer(f"weight/{side}_zero_point")
        if torch.compiler.is_exporting():
            return dequantize_affine(quantize_affine(values, *grid), *grid)
        return _real(_quantized(values, *grid), *grid)


class IntegerLinear(_IntegerLayer):
    """A `Linear` with int8 weights and 8-bit inputs and outputs."""

    def forward(self, input: Float[Tensor, "... in"]) -> Float[Tensor, "... out"]:
        """All positions as rows of one matrix: runtimes have integer kernels for plain products with a bias."""
        rows = self.snap(input.reshape(-1, input.shape[-1]), "input")
        product = self.snap(F.linear(rows, self.real_weight(), self.bias), "output")
        return product.reshape(*input.shape[:-1], product.shape[-1])


class IntegerConv2d(_IntegerLayer):
    """A `Conv2d` with int8 weights and 8-bit inputs and outputs."""

    def __init__(self, source: nn.Conv2d) -> None:
        super().__init__(source)
        self.stride, self.dilation, self.groups = source.stride, source.dilation, source.groups
        self.padding_mode, self.margins = source.padding_mode, source._reversed_padding_repeated_twice
        self.padding = source.padding if source.padding_mode == "zeros" else 0

    def forward(self, input: Float[Tensor, "batch in h w"]) -> Float[Tensor, "batch out h2 w2"]:
        """Other paddings than zeros come before the rounding, so that nothing stands between it and the kernel."""
        if self.padding_mode != "zeros":
            input = F.pad(input, self.margins, mode=self.padding_mode)
        snapped, weight = self.snap(input, "input"), self.real_weight()
        product = F.conv2d(snapped, weight, self.bias, self.stride, self.padding, self.dilation, self.groups)
        return self.snap(product, "output")


def integer_layer(source: nn.Module) -> IntegerLinear | IntegerConv2d:
    """The integer counterpart of a float layer, not filled yet."""
    if isinstance(source, nn.Conv2d):
        return IntegerConv2d(source)
    assert isinstance(source, nn.Linear)
    return IntegerLinear(source)
