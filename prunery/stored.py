"""Layers whose weight is stored in a format of its own: what all of them share.

The weight stays under its own key: int8 as it is, fp16 and bf16 in their types, int4 as uint8, two weights to a byte,
the first in the low half, channel after channel. `/scale` holds one scale per output channel, `[out]`, or per group of
a channel's weights, `[out, groups]`. fp16 and bf16 layers keep their bias in the same type; the others in fp32.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from prunery.formats import blocks, is_integer

DTYPES = {"fp16": torch.float16, "bf16": torch.bfloat16, "int8": torch.int8, "int4": torch.uint8}
"""What the weights of a format are stored as."""


CONV2D = ("stride", "padding", "dilation", "groups", "padding_mode")
"""What makes a `Conv2d`, beside its channels, kernel and bias."""


# --- int4 ------------------------------------------------------------------------------------------------------------


def pack(integers: Int[Tensor, "..."]) -> Int[Tensor, " bytes"]:
    """Integers -8..7 as bytes, two in each, the first in the low half; an odd one out shares its byte with zero."""
    flat = F.pad(integers.flatten(), (0, integers.numel() % 2)).to(torch.uint8) & 15
    return flat[::2] | (flat[1::2] << 4)


def unpack(packed: Int[Tensor, " bytes"], shape: Sequence[int]) -> Int[Tensor, "..."]:
    """The integers that `pack` made bytes of, as int8."""
    halves = torch.stack([packed & 15, packed >> 4], dim=1).flatten()[: prod(shape)]
    return ((halves ^ 8).to(torch.int8) - 8).reshape(tuple(shape))


# --- real values -----------------------------------------------------------------------------------------------------


def scaled(
    integers: Int[Tensor, "out ..."], scale: Float[Tensor, "out *groups"], group: int | None = None
) -> Float[Tensor, "out ..."]:
    """Integers times their scales."""
    return integers.to(scale.dtype) * spread(scale, integers.shape, group)


def spread(scale: Float[Tensor, "out *groups"], shape: Sequence[int], group: int | None) -> Float[Tensor, "out ..."]:
    """One scale per output channel, or per `group` of its weights in order, to multiply a weight of this shape with."""
    if group is None:
        return scale.reshape(-1, *[1] * (len(shape) - 1))
    columns = prod(shape[1:])
    return scale.repeat_interleave(min(group, columns), dim=1)[:, :columns].reshape(tuple(shape))


@torch.library.custom_op("prunery::dequantize_channels", mutates_args=())
def dequantize_channels(integers: Tensor, scale: Tensor) -> Tensor:
    """The real values of int8 weights `[out, ...]`, one scale per output channel (axis 0)."""
    return scaled(integers, scale)


@dequantize_channels.register_fake
def _(integers: Tensor, scale: Tensor) -> Tensor:
    return torch.empty_like(integers, dtype=scale.dtype)


# --- layers ----------------------------------------------------------------------------------------------------------


class StoredWeight(nn.Module):
    """The buffers of such a layer, not filled yet. A float layer's bias and mask carry over."""

    bias: nn.Parameter | None

    def __init__(self, source: Any, format_: str, group: int | None = None) -> None:
        super().__init__()
        weight, device = source.weight, source.weight.device
        self.format, self.group, self.shape = format_, group, tuple(weight.shape)
        size = [(weight.numel() + 1) // 2] if format_ == "int4" else weight.shape
        self.register_buffer("weight", torch.zeros(size, dtype=DTYPES[format_], device=device))
        if is_integer(format_):
            groups = [] if group is None else [blocks(self.shape, group)]
            self.register_buffer("weight/scale", torch.ones(len(weight), *groups, device=device))
        bias = source.bias
        if bias is not None and not is_integer(format_):
            bias = nn.Parameter(bias.detach().to(DTYPES[format_]))
        self.register_parameter("bias", bias)
        if "weight/mask" in source._buffers:
            self.register_buffer("weight/mask", source.get_buffer("weight/mask"))

    def fill(self, plan: Any) -> None:
        """Take over a quantizer's decision: its `weight` `[out, ...]` (int4: as int8 from -8 to 7) and `scale`."""
        self.get_buffer("weight").copy_(pack(plan.weight) if self.format == "int4" else plan.weight)
        if plan.scale is not None:
            self.get_buffer("weight/scale").copy_(plan.scale)

    def stored(self) -> Tensor:
        """The weight `[out, ...]` as it is stored, int4 as int8."""
        weight = self.get_buffer("weight")
        return unpack(weight, self.shape) if self.format == "int4" else weight

    def real_weight(self) -> Float[Tensor, "out ..."]:
        """The weight as it is meant, in fp32."""
        if not is_integer(self.format):
            return self.stored().float()
        if torch.compiler.is_exporting() and self.format == "int8" and self.group is None:
            return dequantize_channels(self.get_buffer("weight"), self.get_buffer("weight/scale"))
        return scaled(self.stored(), self.get_buffer("weight/scale"), self.group)

    def real_bias(self) -> Float[Tensor, " out"] | None:
        """The bias in fp32."""
        return None if self.bias is None else self.bias.float()

    def extra_repr(self) -> str:
        """Shape and format."""
        return f"{list(self.shape)}, {self.format}" + (f", group={self.group}" if self.group else "")


class StoredConv2d(StoredWeight):
    """A `Conv2d` of that kind: where its kernel goes."""

    def __init__(self, source: nn.Conv2d, format_: str, group: int | None = None) -> None:
        super().__init__(source, format_, group)
        self.stride, self.dilation, self.groups = source.stride, source.dilation, source.groups
        self.padding_mode, self.margins = source.padding_mode, source._reversed_padding_repeated_twice
        self.padding: Any = source.padding if source.padding_mode == "zeros" else 0
        self.arguments = {name: getattr(source, name) for name in CONV2D}

    def padded(self, input: Float[Tensor, "batch in h w"]) -> Float[Tensor, "batch in h3 w3"]:
        """The input with its margins, for paddings other than zeros; those the kernel adds itself."""
        return input if self.padding_mode == "zeros" else F.pad(input, self.margins, mode=self.padding_mode)

    def product(self, padded: Float[Tensor, "batch in h3 w3"]) -> Float[Tensor, "batch out h2 w2"]:
        """The convolution."""
        weight, bias, padding = self.real_weight(), self.real_bias(), self.padding
        return F.conv2d(padded, weight, bias, self.stride, padding, self.dilation, self.groups)
