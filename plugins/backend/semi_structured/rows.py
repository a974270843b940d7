"""Layers as products of rows with one matrix, the only form that sparse kernels have: convolutions are unfolded.

The matrix may be dense, which gives the same answers without the kernels (and the control that timings need).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from prunery.layers import COMPRESSIBLE, is_plain

GROUP, ALIVE = 4, 2
Layout = Literal["channels", "im2col"]
"""What neighbours are in a convolution: channels at one position, or entries of the flattened kernel."""
LAYOUTS: tuple[Layout, ...] = ("channels", "im2col")


class RowLinear(nn.Module):
    """A linear layer with a matrix `[out, in]` that need not be a parameter."""

    def __init__(self, layer: nn.Linear, matrix: Tensor) -> None:
        super().__init__()
        self.matrix, self.bias = matrix, layer.bias

    def forward(self, input: Float[Tensor, "... in"]) -> Float[Tensor, "... out"]:
        """All positions as rows of one contiguous matrix, as sparse kernels want them."""
        rows = input.reshape(-1, input.shape[-1]).contiguous()
        return F.linear(rows, self.matrix, self.bias).reshape(*input.shape[:-1], -1)


class RowConv2d(nn.Module):
    """A convolution as a product of unfolded patches with a matrix `[out, kh * kw * in]` in the order of `layout`."""

    def __init__(self, layer: nn.Conv2d, matrix: Tensor, layout: Layout) -> None:
        super().__init__()
        self.matrix, self.bias, self.layout = matrix, layer.bias, layout
        assert not isinstance(layer.padding, str)
        self.kernel, self.stride, self.dilation = layer.kernel_size, layer.stride, layer.dilation
        self.padding = layer.padding

    def forward(self, input: Float[Tensor, "batch in height width"]) -> Float[Tensor, "batch out rows columns"]:
        """Patches, product, picture."""
        rows, columns = (self._size(input.shape[2 + axis], axis) for axis in (0, 1))
        product = F.linear(self._patches(input).contiguous(), self.matrix, self.bias)
        return product.reshape(len(input), rows, columns, -1).permute(0, 3, 1, 2)

    def _size(self, size: int, axis: int) -> int:
        """How many places the kernel takes along an axis of so many pixels."""
        extent = self.dilation[axis] * (self.kernel[axis] - 1) + 1
        return (size + 2 * self.padding[axis] - extent) // self.stride[axis] + 1

    def _patches(self, input: Tensor) -> Float[Tensor, "positions entries"]:
        channels = input.shape[1]
        if self.kernel == (1, 1) and self.padding == (0, 0):
            return input[:, :, :: self.stride[0], :: self.stride[1]].permute(0, 2, 3, 1).reshape(-1, channels)
        unfolded = F.unfold(input, self.kernel, self.dilation, self.padding, self.stride)
        if self.layout == "channels":
            unfolded = unfolded.unflatten(1, (channels, -1)).transpose(1, 2).flatten(1, 2)
        return unfolded.transpose(1, 2).flatten(0, 1)


def in_layout(weight: Float[Tensor, "out ..."], layout: Layout) -> Float[Tensor, "out entries"]:
    """A weight as the matrix whose neighbouring columns are the neighbours of a layout."""
    return (weight.movedim(1, -1) if layout == "channels" else weight).flatten(1)


def two_of_four(matrix: Float[Tensor, "out entries"]) -> Bool[Tensor, ""]:
    """Whether no four neighbours hold more than two weights that are not zero."""
    return (matrix.unflatten(1, (-1, GROUP)) != 0).sum(-1).le(ALIVE).all()


def layout_of(layer: nn.Module) -> Layout:
    """The layout in which a layer has two of four. Raises `ValueError` saying why it has none."""
    if not isinstance(layer, COMPRESSIBLE) or not is_plain(layer):
        raise ValueError("it computes otherwise than its class")
    if isinstance(layer, nn.Conv2d):
        if layer.groups > 1:
            raise ValueError("its convolution has groups")
        if isinstance(layer.padding, str) or layer.padding_mode != "zeros":
            raise ValueError("its padding is not spelled as a number of zeros")
    for layout in LAYOUTS:
        if _has_pattern(in_layout(layer.weight, layout)):
            return layout
    raise ValueError("some four neighbours hold more than two weights, or are fewer than four")


def _has_pattern(matrix: Tensor) -> bool:
    return matrix.shape[1] % GROUP == 0 and bool(two_of_four(matrix))


def by_rows(layer: nn.Module, layout: Layout, convert: Callable[[Tensor], Tensor] | None = None) -> nn.Module:
    """The layer as a product of rows; `convert` makes something else of its matrix."""
    assert isinstance(layer, COMPRESSIBLE)
    matrix = in_layout(layer.weight.detach(), layout).contiguous()
    matrix = matrix if convert is None else convert(matrix)
    return RowLinear(layer, matrix) if isinstance(layer, nn.Linear) else RowConv2d(layer, matrix, layout)
