"""Networks of which only a reservoir of weights is trained: entries that were pruned, on top of those that were kept.

The weight of a layer becomes the sum of a frozen base (zero in the reservoir) and a parameter (zero outside of it) with
a mask, so the training engine, which knows masks and frozen parameters, runs such a network as any other. Whatever
reads the layer's `weight` reads the sum: convolutions with a forward of their own, attention, layers that simulate.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn.utils import parametrize

from prunery.layers import layer_of


class Base(nn.Module):
    """What is frozen of a weight."""

    def __init__(self, base: Float[Tensor, "out ..."]) -> None:
        super().__init__()
        self.register_buffer("base", base)

    def forward(self, reservoir: Float[Tensor, "out ..."]) -> Float[Tensor, "out ..."]:
        """The whole weight."""
        whole: Tensor = self.get_buffer("base") + reservoir
        return whole


def with_reservoir(network: nn.Module, kept: Mapping[str, Bool[Tensor, "out ..."]]) -> nn.Module:
    """A copy that can train nothing but the weights that `kept` says False of, by key; they start from zero.

    Layers that are not named are frozen whole; masks of those that are named give way to the reservoir.
    """
    network = copy.deepcopy(network)
    network.requires_grad_(False)
    for key, mask in kept.items():
        _split(layer_of(network, key), mask)
    return network


def reservoir_weights(network: nn.Module, keys: Iterable[str]) -> dict[str, Float[Tensor, "out ..."]]:
    """The whole weights of a network that `with_reservoir` made, by key, detached."""
    found: dict[str, Tensor] = {key: getattr(layer_of(network, key), "weight") for key in keys}  # noqa: B009
    return {key: weight.detach() for key, weight in found.items()}


@torch.no_grad()
def _split(layer: nn.Module, kept: Tensor) -> None:
    """Make a layer's weight the sum of what is kept and of a reservoir."""
    weight = layer.get_parameter("weight")
    layer._buffers.pop("weight/mask", None)
    base = weight.masked_fill(~kept.to(weight.device), 0)
    layer._parameters["weight"] = nn.Parameter(torch.zeros_like(weight))  # not in place: another layer may share it
    parametrize.register_parametrization(layer, "weight", Base(base))
    parts = layer.get_submodule("parametrizations.weight")
    parts.register_buffer("original/mask", ~kept.to(weight.device))
