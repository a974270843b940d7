"""Layers as a product of two smaller ones: a `Linear` of low rank computes less as `left(right(x))`.

Both factors are ordinary `Linear` layers under keys of their own (`fc1.right.weight`, `fc1.left.weight`,
`fc1.left.bias`), so that whatever is done to layers afterwards is done to factors too: they are masked, calibrated,
trained, quantized, exported and counted as what they are.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from prunery.layers import compressible, is_plain, layer_of, replace_layer
from prunery.singular import decompose
from prunery.wiring import wiring


class Factors(nn.Sequential):
    """A linear map of rank `right.out_features`: first `right`, then `left`, which has the bias.

    `weight`, `bias`, `in_features` and `out_features` are what the `Linear` had that this stands for.
    """

    right: nn.Linear
    left: nn.Linear

    def __init__(self, right: nn.Linear, left: nn.Linear) -> None:
        super().__init__(OrderedDict(right=right, left=left))

    @property
    def weight(self) -> Float[Tensor, "out in"]:
        """The product of both weights."""
        return self.left.weight @ self.right.weight

    @property
    def bias(self) -> Float[Tensor, " out"] | None:
        """The bias, if there is one."""
        return self.left.bias

    @property
    def in_features(self) -> int:
        """Inputs of the map."""
        return self.right.in_features

    @property
    def out_features(self) -> int:
        """Outputs of the map."""
        return self.left.out_features


def factorable(network: nn.Module, example: Tensor) -> dict[str, Float[Tensor, "out in"]]:
    """The weights that factors may replace, by key.

    Those of `Linear` layers that run as modules, with the forward of their class, hold no weight at zero (a product
    would bring it back) and share none with another layer. `example` is a valid input batch.
    """
    ran, found = wiring(network, example), {}
    named = [id(value) for _, value in network.named_parameters(remove_duplicate=False)]
    for key, layer in compressible(network):
        plain = isinstance(layer, nn.Linear) and is_plain(layer) and key in ran
        mask = layer._buffers.get("weight/mask")
        if plain and named.count(id(layer.weight)) == 1 and (mask is None or bool(mask.all())):
            found[key] = layer.get_parameter("weight").detach()
    return found


def factors_edit(ranks: Mapping[str, int]) -> dict[str, Any]:
    """The edit that gives these layers factors, by key of the weight."""
    return {"edit": "factors", "ranks": {key: ranks[key] for key in sorted(ranks)}}


def make_factors(network: nn.Module, edit: Mapping[str, Any]) -> None:
    """Put factors in the place of the layers of `ranks`, their values by `truncated`."""
    for key, rank in edit["ranks"].items():
        layer = layer_of(network, key)
        factors = _shaped(layer, rank)
        left, right = truncated(layer.get_parameter("weight"), rank)
        with torch.no_grad():
            factors.left.weight.copy_(left)
            factors.right.weight.copy_(right)
            if factors.left.bias is not None:
                factors.left.bias.copy_(layer.get_parameter("bias"))
        replace_layer(network, layer, factors)


def shape_factors(network: nn.Module, edit: Mapping[str, Any]) -> None:
    """`make_factors` for a network whose values are filled in afterwards."""
    for key, rank in edit["ranks"].items():
        layer = layer_of(network, key)
        replace_layer(network, layer, _shaped(layer, rank))


def truncated(weight: Float[Tensor, "out in"], rank: int) -> tuple[Float[Tensor, "out rank"], Float[Tensor, "rank in"]]:
    """The best product of this rank (Eckart and Young 1936), the roots of the singular values on either side."""
    parts = decompose(weight)
    roots = parts.values[:rank].sqrt()
    return parts.left[:, :rank] * roots, roots[:, None] * parts.right[:rank]


def _shaped(layer: nn.Module, rank: int) -> Factors:
    """Factors in the shapes, type and place of a layer; their values are zero."""
    if not isinstance(layer, nn.Linear) or not 0 < rank <= min(layer.weight.shape):
        raise TypeError(f"{layer} has no factors of rank {rank}")
    kind: dict[str, Any] = {"device": layer.weight.device, "dtype": layer.weight.dtype}
    right = nn.utils.skip_init(nn.Linear, layer.in_features, rank, bias=False, **kind)
    left = nn.utils.skip_init(nn.Linear, rank, layer.out_features, bias=layer.bias is not None, **kind)
    for value in (right.weight, left.weight, left.bias):
        if value is not None:
            nn.init.zeros_(value)
    return Factors(right, left).train(layer.training)
