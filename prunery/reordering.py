"""The proof that the columns of weights may change places: a network whose orders changed computes what it did."""

from __future__ import annotations

import copy
from collections.abc import Mapping

import torch
from jaxtyping import Int
from torch import Tensor, nn

from prunery.coupling.trials import TOLERANCE, in_double, scrambled
from prunery.errors import PruneryError
from prunery.layers import layer_of
from prunery.permuting import permute_inputs, reorder


@torch.no_grad()
def check_orders(network: nn.Module, orders: Mapping[str, Int[Tensor, " channels"]], samples: Tensor, who: str) -> None:
    """Refuse orders that would change what the network computes, though each weight's columns move along.

    That is so where a weight is read without its layer being called (attention that is fused). `samples` are a few
    valid inputs. Raises `PruneryError` naming the first such key.
    """
    if not orders:
        return
    double, inputs = scrambled(network), in_double(samples)
    wanted = double(inputs)
    if _agree(_moved(double, orders)(inputs), wanted):
        return
    for key, order in orders.items():
        if not _agree(_moved(double, {key: order})(inputs), wanted):
            raise PruneryError(
                f"{who}: the inputs of {key} cannot change places, its weight is read without its layer being called: "
                "exclude it, or do not permute"
            )


def _moved(network: nn.Module, orders: Mapping[str, Tensor]) -> nn.Module:
    moved = copy.deepcopy(network)
    permute_inputs(moved, {"keys": list(orders)})
    for key, order in orders.items():
        reorder(layer_of(moved, key), order.cpu())
    return moved


def _agree(found: Tensor, wanted: Tensor) -> bool:
    return float((found - wanted).abs().max()) <= TOLERANCE * float(wanted.abs().max())
