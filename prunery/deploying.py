"""Stored weights in the form that runtimes run: what an exported file holds in their place.

Runtimes have kernels that read int8 and int4 weights of a plain product, each column of the weight with scales of its
own. Everything else that is stored in fewer bits they would turn into fp32 in every call, so that is done beforehand.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from prunery.formats import is_integer
from prunery.layers import quantized_layers, replace_layer
from prunery.stored import scaled
from prunery.weightonly import WeightConv2d, WeightLinear


def deployable(network: nn.Module) -> nn.Module:
    """A copy with integer weights of linear layers as `ColumnsLinear`, other stored weights as fp32 layers.

    The network itself where it has no weight-only layer.
    """
    if not any(isinstance(layer, WeightLinear | WeightConv2d) for _, layer in quantized_layers(network)):
        return network
    made = copy.deepcopy(network)
    for _, layer in list(quantized_layers(made)):
        if isinstance(layer, WeightLinear):
            replace_layer(made, layer, ColumnsLinear(layer) if is_integer(layer.format) else _float_linear(layer))
        elif isinstance(layer, WeightConv2d):
            replace_layer(made, layer, _float_convolution(layer))
    return made.eval()


@torch.library.custom_op("prunery::dequantize_columns", mutates_args=())
def dequantize_columns(integers: Tensor, scale: Tensor, group: int) -> Tensor:
    """The real values of int8 weights `[in, out]`, scales `[out]`, or `[groups, out]` for `group` rows each."""
    return scaled(integers.mT, scale.mT if group else scale, group or None).mT.contiguous()


@dequantize_columns.register_fake
def _(integers: Tensor, scale: Tensor, group: int) -> Tensor:
    return torch.empty_like(integers, dtype=scale.dtype, memory_format=torch.contiguous_format)


class ColumnsLinear(nn.Module):
    """A linear layer as runtimes want it: rows times columns of integers (int4 ones as int8 here).

    Where a last group is shorter than the others, zeros fill it up: OpenVINO reads whole groups only.
    """

    bias: nn.Parameter | None

    def __init__(self, source: WeightLinear) -> None:
        super().__init__()
        scale: Float[Tensor, "out *groups"] = source.get_buffer("weight/scale")
        integers: Int[Tensor, "out in"] = source.stored()
        self.group, self.format = source.group or 0, source.format
        self.missing = -integers.shape[1] % self.group if self.group else 0
        self.register_buffer("weight", F.pad(integers, (0, self.missing)).mT.contiguous())
        self.register_buffer("weight/scale", scale.mT.contiguous() if self.group else scale)
        self.register_parameter("bias", source.bias)

    def forward(self, input: Float[Tensor, "... in"]) -> Float[Tensor, "... out"]:
        """All positions as rows of one matrix."""
        weight = dequantize_columns(self.get_buffer("weight"), self.get_buffer("weight/scale"), self.group)
        rows = input if input.dim() == 2 else input.reshape(-1, input.shape[-1])
        rows = F.pad(rows, (0, self.missing)) if self.missing else rows
        product = rows @ weight if self.bias is None else torch.addmm(self.bias, rows, weight)
        return product if input.dim() == 2 else product.reshape(*input.shape[:-1], product.shape[-1])


def _float_linear(source: WeightLinear) -> nn.Linear:
    out, inputs = source.shape
    layer = nn.Linear(inputs, out, bias=source.bias is not None, device="meta")
    _fill(layer, source)
    return layer


def _float_convolution(source: WeightConv2d) -> nn.Conv2d:
    out, per_group, *kernel = source.shape
    options: dict[str, Any] = {**source.arguments, "bias": source.bias is not None, "device": "meta"}
    layer = nn.Conv2d(per_group * source.groups, out, (kernel[0], kernel[1]), **options)
    _fill(layer, source)
    return layer


def _fill(layer: nn.Linear | nn.Conv2d, source: WeightLinear | WeightConv2d) -> None:
    bias = source.real_bias()
    layer.weight = nn.Parameter(source.real_weight())
    layer.bias = None if bias is None else nn.Parameter(bias.detach())
