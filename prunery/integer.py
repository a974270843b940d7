"""Layers that hold integers: what `quantize` puts in the place of `Linear` and `Conv2d`.

A layer's weight stays under its own key, as int8 or packed int4 (`prunery.stored`), with one scale per output channel;
its other companions carry the suffixes `/input_scale`, `/input_zero_point`, `/output_scale`, `/output_zero_point`.
Activations are unsigned, of as many bits as the weights, affine, one scale per tensor; biases stay in floating point.
In eager mode the integers are scaled back and computed in fp32 (the reference); exported as ONNX the same steps become
QuantizeLinear and DequantizeLinear nodes, which a runtime replaces by integer kernels where it has them (8 bits).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from prunery.stored import StoredConv2d, StoredWeight


@dataclass(frozen=True)
class Affine:
    """An affine grid: real = (integer - zero_point) * scale, integers 0..2^b - 1 (b = 8 or 4)."""

    scale: float
    zero_point: int


@dataclass(frozen=True)
class IntegerPlan:
    """What a quantizer decided for one layer whose activations are integers too, of as many `bits` (8 or 4).

    Weights are symmetric per output channel, int8 (4 bits: from -8 to 7): real = integer * scale.
    """

    weight: Int[Tensor, "out ..."]
    scale: Float[Tensor, " out"]
    input: Affine
    output: Affine
    bits: int = 8


# --- rounding to a grid and back: as operators while a network is exported, directly otherwise (dispatch costs more) --


def _quantized(values: Tensor, scale: Tensor, zero_point: Tensor, most: int = 255) -> Tensor:
    return torch.clamp(torch.round(values / scale) + zero_point, 0, most)


def _real(integers: Tensor, scale: Tensor, zero_point: Tensor) -> Tensor:
    return (integers.to(scale.dtype) - zero_point) * scale


@torch.library.custom_op("prunery::quantize_affine", mutates_args=())
def quantize_affine(values: Tensor, scale: Tensor, zero_point: Tensor) -> Tensor:
    """Round to the 8-bit grid (half to even), clamp to 0..255. `scale` (fp32) and `zero_point` (uint8) are scalars."""
    return _quantized(values, scale, zero_point).to(torch.uint8)


@torch.library.custom_op("prunery::dequantize_affine", mutates_args=())
def dequantize_affine(integers: Tensor, scale: Tensor, zero_point: Tensor) -> Tensor:
    """The real values of uint8 integers on the grid."""
    return _real(integers, scale, zero_point)


@quantize_affine.register_fake
def _(values: Tensor, scale: Tensor, zero_point: Tensor) -> Tensor:
    return torch.empty_like(values, dtype=torch.uint8)


@dequantize_affine.register_fake
def _(integers: Tensor, scale: Tensor, zero_point: Tensor) -> Tensor:
    return torch.empty_like(integers, dtype=scale.dtype)


# --- layers ----------------------------------------------------------------------------------------------------------


class IntegerLayer(StoredWeight):
    """What integer layers add to a stored weight: the grids of what goes in and comes out."""

    def _add_grids(self, bits: int) -> None:
        self.bits, device = bits, self.get_buffer("weight").device
        for side in ("input", "output"):
            self.register_buffer(f"weight/{side}_scale", torch.tensor(1.0, device=device))
            self.register_buffer(f"weight/{side}_zero_point", torch.tensor(0, dtype=torch.uint8, device=device))

    def fill(self, plan: IntegerPlan) -> None:
        """Take over a quantizer's decision."""
        super().fill(plan)
        for side, grid in (("input", plan.input), ("output", plan.output)):
            self.get_buffer(f"weight/{side}_scale").fill_(grid.scale)
            self.get_buffer(f"weight/{side}_zero_point").fill_(grid.zero_point)

    def snap(self, values: Tensor, side: str) -> Tensor:
        """Values rounded to this layer's grid of its `input` or `output`."""
        grid = self.get_buffer(f"weight/{side}_scale"), self.get_buffer(f"weight/{side}_zero_point")
        if torch.compiler.is_exporting() and self.bits == 8:
            return dequantize_affine(quantize_affine(values, *grid), *grid)
        return _real(_quantized(values, *grid, 2**self.bits - 1), *grid)


class IntegerLinear(IntegerLayer):
    """A `Linear` with integer weights, inputs and outputs."""

    def __init__(self, source: nn.Linear, bits: int = 8) -> None:
        super().__init__(source, f"int{bits}")
        self._add_grids(bits)

    def forward(self, input: Float[Tensor, "... in"]) -> Float[Tensor, "... out"]:
        """All positions as rows of one matrix: runtimes have integer kernels for plain products with a bias."""
        rows = self.snap(input.reshape(-1, input.shape[-1]), "input")
        product = self.snap(F.linear(rows, self.real_weight(), self.bias), "output")
        return product.reshape(*input.shape[:-1], product.shape[-1])


class IntegerConv2d(IntegerLayer, StoredConv2d):
    """A `Conv2d` with integer weights, inputs and outputs."""

    def __init__(self, source: nn.Conv2d, bits: int = 8) -> None:
        super().__init__(source, f"int{bits}")
        self._add_grids(bits)

    def forward(self, input: Float[Tensor, "batch in h w"]) -> Float[Tensor, "batch out h2 w2"]:
        """Other paddings than zeros come before the rounding, so that nothing stands between it and the kernel."""
        return self.snap(self.product(self.snap(self.padded(input), "input")), "output")


def integer_layer(source: nn.Module, bits: int = 8) -> IntegerLinear | IntegerConv2d:
    """The integer counterpart of a float layer, not filled yet."""
    if isinstance(source, nn.Conv2d):
        return IntegerConv2d(source, bits)
    assert isinstance(source, nn.Linear)
    return IntegerLinear(source, bits)
