"""Layers whose input channels stand in another order: their inputs are gathered as their weight's columns lie.

The order is a companion of the weight, `/permutation`, int64 `[channels]`: position -> channel of the input (of grouped
convolutions: within each group). A hook before the layer's forward gathers the input, so whatever a layer becomes (it
may simulate, store integers, be exported), what it computes stays what it was.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from prunery.errors import PruneryError
from prunery.stored import StoredConv2d

ORDER = "weight/permutation"


def permute_inputs(network: nn.Module, edit: Mapping[str, Any]) -> None:
    """Let the layers of `keys`, and those that share their weights, gather their inputs; in the order they have first.

    Raises `PruneryError` if something else than a linear or convolution layer reads one of the weights.
    """
    for key in edit["keys"]:
        layer = network.get_submodule(key.rpartition(".")[0])
        weight = layer.get_parameter("weight")
        order = torch.arange(weight.shape[1], device=weight.device)
        for owner in _owners(network, weight):
            if not isinstance(owner, nn.Linear | nn.Conv2d):
                raise PruneryError(
                    f"the columns of {key} cannot change places, a {type(owner).__name__} shares them: exclude it"
                )
            if ORDER not in owner._buffers:
                gather_inputs(owner, order)


def _owners(network: nn.Module, weight: Tensor) -> list[nn.Module]:
    return [layer for layer in network.modules() if any(value is weight for value in layer._parameters.values())]


def gather_inputs(layer: nn.Module, order: Int[Tensor, " channels"]) -> None:
    """Give a layer an order and the hook that gathers its inputs by it."""
    layer.register_buffer(ORDER, order)
    layer.register_forward_pre_hook(_gather, with_kwargs=True)


def _gather(layer: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The hook; it reads the order of the layer it is called for, so copies of a layer have their own."""
    order, axis = layer.get_buffer(ORDER), -3 if isinstance(layer, nn.Conv2d | StoredConv2d) else -1
    value = args[0] if args else kwargs["input"]
    groups = value.shape[axis] // len(order)
    if groups > 1:
        order = (torch.arange(groups, device=order.device)[:, None] * len(order) + order).flatten()
    gathered = value.index_select(axis, order)
    return ((gathered, *args[1:]), kwargs) if args else (args, {**kwargs, "input": gathered})


def hand_on(old: nn.Module, new: nn.Module) -> None:
    """Give the order of a layer to the one that takes its place; of a sequence, its first layer takes it."""
    target = next(iter(new)) if isinstance(new, nn.Sequential) else new
    if ORDER in old._buffers and ORDER not in target._buffers:
        gather_inputs(target, old.get_buffer(ORDER))


def order_after(order: Int[Tensor, " channels"], kept: Int[Tensor, " kept"]) -> Int[Tensor, " kept"]:
    """The order once only the positions `kept` are left, and their channels alone, numbered anew as they were."""
    left = order[kept]
    return torch.searchsorted(left.sort().values, left)


def as_read(layer: nn.Module) -> Float[Tensor, "out ..."]:
    """A layer's weight with its columns in the order of the input's channels: what it means, detached."""
    weight = layer.get_parameter("weight").detach()
    order = layer._buffers.get(ORDER)
    return weight if order is None else weight.index_select(1, order.argsort())


@torch.no_grad()
def reorder(layer: nn.Module, order: Int[Tensor, " channels"]) -> None:
    """Put the columns of a layer's weight and mask, and its order, into another order, in place."""
    for value in _columns(layer):
        value.copy_(value.index_select(1, order.to(value.device)))
    present = layer.get_buffer(ORDER)
    present.copy_(present[order.to(present.device)])


def _columns(layer: nn.Module) -> Iterator[Tensor]:
    yield layer.get_parameter("weight")
    if "weight/mask" in layer._buffers:
        yield layer.get_buffer("weight/mask")
