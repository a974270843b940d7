"""What each output position of a layer sees of its input: rows for linear maps, unfolded patches for convolutions."""

from __future__ import annotations

from collections.abc import Iterator

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

PATCH_ELEMENTS = 2**24
"""Unfolded convolution inputs are made for so many elements at a time (64 MB in single precision)."""


def patches_of(layer: nn.Module, inputs: Float[Tensor, "..."]) -> Iterator[Float[Tensor, "batch features positions"]]:
    """What each output position of a layer sees, a few samples at a time.

    Features are `[in]` for `Linear`, and for `Conv2d` `[in * kh * kw]` over all input channels, zeros of the padding
    included; a convolution's groups follow each other, each in the order of its weight's columns.
    """
    if not isinstance(layer, nn.Conv2d):
        yield inputs.reshape(-1, inputs.shape[-1]).T[None]
        return
    mode = "constant" if layer.padding_mode == "zeros" else layer.padding_mode
    padded = F.pad(inputs if inputs.dim() == 4 else inputs[None], layer._reversed_padding_repeated_twice, mode=mode)
    unfolded = padded[0].numel() * layer.kernel_size[0] * layer.kernel_size[1] // (layer.stride[0] * layer.stride[1])
    for part in padded.split(max(1, PATCH_ELEMENTS // max(1, unfolded))):
        yield F.unfold(part, layer.kernel_size, layer.dilation, stride=layer.stride)
