"""What becomes of weights whose pruner chooses their values too: checked, filled in, masked, put into another order."""

from __future__ import annotations

import copy
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from prunery.checkpoint import Replica
from prunery.edits import Edit, mask_edit, permute_edit, replay
from prunery.errors import PruneryError
from prunery.layers import layer_of, weights
from prunery.permuting import ORDER
from prunery.pruning import Measured, Projection, Projector
from prunery.reordering import check_orders

MASK = "weight/mask"


def project(
    method: Projector,
    parent: Replica,
    dense: nn.Module | None,
    measured: Measured,
    generator: torch.Generator,
    who: str,
    samples: Tensor,
) -> Replica:
    """A replica with the values, masks and orders that the method answers with; the parent is left as it was.

    `samples` are a few valid inputs: orders are tried on them.
    Raises `PruneryError` if the answer does not fit, or the dense network's weights are not of the parent's shapes.
    """
    network = copy.deepcopy(parent.network)
    shown = weights(network)
    found = method.project(shown, _dense(network, dense, who) if method.restores else {}, measured, generator)
    for key, original in weights(parent.network).items():
        if not torch.equal(shown[key], original):
            raise PruneryError(f"{who}: it changed the weight {key}, which it was only shown: mend the method")
    for key, projection in found.items():
        _check(key, projection, shown, who)
    orders = {key: each.permutation for key, each in found.items() if each.permutation is not None}
    check_orders(network, orders, samples, who)
    edits = _edits(network, found)
    replay(network, edits)
    for key, projection in found.items():
        _apply(layer_of(network, key), projection)
    return Replica(network, [*parent.edits, *edits])


def _dense(network: nn.Module, dense: nn.Module | None, who: str) -> dict[str, Tensor]:
    """The dense network's weights, columns in the network's present order."""
    if dense is None:
        raise PruneryError(f"{who}: it brings back dense weights, and the dense network was not given")
    trained, found = weights(dense), {}
    for key, weight in weights(network).items():
        if key not in trained or trained[key].shape != weight.shape:
            raise PruneryError(
                f"{who}: {key} has another shape than in the dense network, so its weights cannot come back: "
                "let it not restore, or put it before the step that removes channels"
            )
        order = layer_of(network, key)._buffers.get(ORDER)
        found[key] = trained[key] if order is None else trained[key].index_select(1, order)
    return found


def _check(key: str, projection: Projection, shown: Mapping[str, Tensor], who: str) -> None:
    if key not in shown:
        raise PruneryError(f"{who}: it answered for {key!r}, which is no compressible weight")
    weight, mask, order = shown[key], projection.mask, projection.permutation
    if projection.weight.shape != weight.shape or not bool(projection.weight.isfinite().all()):
        raise PruneryError(f"{who}: its values for {key} are not finite numbers of shape {list(weight.shape)}")
    if mask is not None and (mask.dtype != torch.bool or mask.shape != weight.shape):
        raise PruneryError(
            f"{who}: its mask for {key} is {mask.dtype} {list(mask.shape)}, not bool {list(weight.shape)}"
        )
    if order is not None and not torch.equal(order.sort().values.cpu(), torch.arange(weight.shape[1])):
        raise PruneryError(f"{who}: its order of the inputs of {key} does not name each of {weight.shape[1]} once")


def _edits(network: nn.Module, found: Mapping[str, Projection]) -> list[Edit]:
    """The edits that give layers the masks and orders they do not have yet."""
    masked = [key for key, each in found.items() if each.mask is not None and not _holds(network, key, MASK)]
    moved = [key for key, each in found.items() if each.permutation is not None and not _holds(network, key, ORDER)]
    edits = [mask_edit(masked)] if masked else []
    return [*edits, permute_edit(moved)] if moved else edits


def _holds(network: nn.Module, key: str, name: str) -> bool:
    return name in layer_of(network, key)._buffers


@torch.no_grad()
def _apply(layer: nn.Module, projection: Projection) -> None:
    """Fill in the values, the mask and the order; an order is one of the channels as they stand."""
    weight, mask = layer.get_parameter("weight"), layer._buffers.get(MASK)
    weight.copy_(projection.weight)
    if projection.permutation is not None:
        order = layer.get_buffer(ORDER)
        order.copy_(order[projection.permutation.to(order.device)])
        if mask is not None and projection.mask is None:
            mask.copy_(mask.index_select(1, projection.permutation.to(mask.device)))
    if projection.mask is not None:
        layer.get_buffer(MASK).copy_(projection.mask)
    if mask is not None:
        weight.masked_fill_(~layer.get_buffer(MASK), 0)
