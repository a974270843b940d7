"""The stage `prune`: a method chooses, this module checks the choice and makes it stick."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from prunery.checkpoint import Checkpoint, Replica
from prunery.contract import ChannelPruner, Measured, PruneMethod, Pruner
from prunery.edits import add_masks, mask_edit
from prunery.errors import PruneryError
from prunery.layers import layer_of, quantized_layers, weights
from prunery.surgery import Surgeon

MASK = "weight/mask"


def prune(method: PruneMethod, parent: Checkpoint, measured: Mapping[int, Measured]) -> dict[int, Replica]:
    """Prune every replica of a checkpoint by itself; the parent is left as it was.

    `measured` holds, by seed, what `method.needs()` asks for. Weights an earlier mask froze stay frozen.
    Raises `PruneryError` if a network is quantized already or holds NaN, a measurement is absent, or the method
    answers with masks that do not fit or changes its input.
    """
    surgeon = Surgeon(parent.origin.spec)
    return {
        seed: _prune_one(method, replica, measured.get(seed, {}), seed, surgeon)
        for seed, replica in parent.replicas.items()
    }


def generator_of(seed: int) -> torch.Generator:
    """The generator of one replica. Not seeded with `seed` itself: initial weights were drawn from that stream."""
    digest = hashlib.sha256(f"prune/{seed}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big", signed=True))


def _prune_one(method: PruneMethod, parent: Replica, measured: Measured, seed: int, surgeon: Surgeon) -> Replica:
    who = f"prune method {method.name!r}, seed {seed}"
    _check_network(parent.network, who)
    _check_measured(method, measured, who)
    if isinstance(method, ChannelPruner):
        return surgeon.operate(method, parent, measured, generator_of(seed), who)
    assert isinstance(method, Pruner)
    return _masked(method, parent, measured, seed, who)


def _masked(method: Pruner, parent: Replica, measured: Measured, seed: int, who: str) -> Replica:
    network = copy.deepcopy(parent.network)
    shown = weights(network)
    masks = method.masks(shown, measured, generator_of(seed))
    _check_masks(masks, shown, who)
    _check_untouched(shown, weights(parent.network), who)
    fresh = [key for key in masks if MASK not in layer_of(network, key)._buffers]
    add_masks(network, mask_edit(fresh))
    for key, mask in masks.items():
        _apply(layer_of(network, key), mask)
    return Replica(network, [*parent.edits, mask_edit(fresh)] if fresh else list(parent.edits))


def _apply(layer: nn.Module, mask: Tensor) -> None:
    """Narrow the layer's mask and zero what it removes."""
    kept = layer.get_buffer(MASK)
    kept &= mask.to(kept.device)
    with torch.no_grad():
        layer.get_parameter("weight").masked_fill_(~kept, 0)


def _check_network(network: nn.Module, who: str) -> None:
    quantized = next(quantized_layers(network), None)
    if quantized is not None:
        raise PruneryError(f"{who}: {quantized[0]} is quantized already: put prune before quantize in the recipe")
    broken = next((key for key, weight in weights(network).items() if not weight.isfinite().all()), None)
    if broken is not None:
        raise PruneryError(f"{who}: the parent's {broken} holds NaN or infinity: train with a lower learning rate")


def _check_measured(method: PruneMethod, measured: Measured, who: str) -> None:
    for need in method.needs():
        if need.partition("=")[2] not in measured:
            raise PruneryError(f"{who}: it needs {need}, which was not measured for this network")


def _check_untouched(shown: Mapping[str, Tensor], originals: Mapping[str, Tensor], who: str) -> None:
    for key, original in originals.items():
        if not torch.equal(shown[key], original):
            raise PruneryError(f"{who}: it changed the weight {key}, which it was only shown: mend the method")


def _check_masks(masks: Mapping[str, Tensor], shown: Mapping[str, Tensor], who: str) -> None:
    for key, mask in masks.items():
        if key not in shown:
            raise PruneryError(f"{who}: it answered with a mask for {key!r}, which is no compressible weight")
        if mask.dtype != torch.bool or mask.shape != shown[key].shape:
            found, wanted = (
                f"{dtype} {list(shape)}" for dtype, shape in ((mask.dtype, mask.shape), (torch.bool, shown[key].shape))
            )
            raise PruneryError(f"{who}: its mask for {key} is {found}, wanted {wanted}")
