"""The stage `prune`: a method chooses, this module checks the choice and makes it stick."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from prunery.checkpoint import Checkpoint, Replica
from prunery.contract import ChannelPruner, Measured, Projector, PruneMethod, Pruner, Rewirer
from prunery.edits import add_masks, mask_edit, replay
from prunery.errors import PruneryError
from prunery.layers import layer_of, quantized_layers, weights
from prunery.leftout import explaining
from prunery.needs import parse_need
from prunery.projecting import project
from prunery.surgery import Surgeon

MASK = "weight/mask"


def prune(
    method: PruneMethod, parent: Checkpoint, measured: Mapping[int, Measured], dense: Checkpoint | None = None
) -> dict[int, Replica]:
    """Prune every replica of a checkpoint by itself; the parent is left as it was.

    `measured` holds, by seed, what `method.needs()` asks for; `dense` the recipe's dense networks, if a `Projector`
    restores. Weights an earlier mask froze stay frozen, unless a `Projector` chooses them anew.
    Raises `PruneryError` if a network is quantized already or holds NaN, a measurement is absent, or the method
    answers with what does not fit or changes its input. (`prunery.selecting` has pruners that train.)
    """
    surgeon = Surgeon(parent.origin.spec)
    found = {}
    for seed, replica in parent.replicas.items():
        original = None if dense is None else dense.replicas[seed].network
        with explaining(replica.network):
            found[seed] = _prune_one(method, replica, measured.get(seed, {}), seed, surgeon, original)
    return found


def generator_of(seed: int) -> torch.Generator:
    """The generator of one replica. Not seeded with `seed` itself: initial weights were drawn from that stream."""
    digest = hashlib.sha256(f"prune/{seed}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big", signed=True))


def _prune_one(
    method: PruneMethod, parent: Replica, measured: Measured, seed: int, surgeon: Surgeon, dense: nn.Module | None
) -> Replica:
    who = f"prune method {method.name!r}, seed {seed}"
    check_network(parent.network, who)
    check_measured(method, measured, who)
    if isinstance(method, ChannelPruner):
        return surgeon.operate(method, parent, measured, generator_of(seed), who)
    if isinstance(method, Projector):
        return project(method, parent, dense, measured, generator_of(seed), who, surgeon.samples)
    if isinstance(method, Rewirer):
        return _rewired(method, parent, surgeon.samples, measured, seed, who)
    assert isinstance(method, Pruner)
    return _masked(method, parent, measured, seed, who)


def _masked(method: Pruner, parent: Replica, measured: Measured, seed: int, who: str) -> Replica:
    network = copy.deepcopy(parent.network)
    shown = weights(network)
    masks = method.masks(shown, measured, generator_of(seed))
    check_masks(masks, shown, who)
    check_untouched(shown, weights(parent.network), who)
    fresh = [key for key in masks if MASK not in layer_of(network, key)._buffers]
    add_masks(network, mask_edit(fresh))
    for key, mask in masks.items():
        _apply(layer_of(network, key), mask)
    return Replica(network, [*parent.edits, mask_edit(fresh)] if fresh else list(parent.edits))


def _rewired(method: Rewirer, parent: Replica, example: Tensor, measured: Measured, seed: int, who: str) -> Replica:
    """A replica that the method's edits were replayed on."""
    network = copy.deepcopy(parent.network).eval()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    edits = method.edits(network, example, measured, generator_of(seed))
    after = network.state_dict()
    if after.keys() != before.keys() or not all(torch.equal(after[key], before[key]) for key in before):
        raise PruneryError(f"{who}: it changed the network, which it was only shown: mend the method")
    return Replica(replay(copy.deepcopy(parent.network), edits), [*parent.edits, *edits])


def _apply(layer: nn.Module, mask: Tensor) -> None:
    """Narrow the layer's mask and zero what it removes."""
    kept = layer.get_buffer(MASK)
    kept &= mask.to(kept.device)
    with torch.no_grad():
        layer.get_parameter("weight").masked_fill_(~kept, 0)


def check_network(network: nn.Module, who: str) -> None:
    """Refuse a network that is quantized or holds NaN."""
    quantized = next(quantized_layers(network), None)
    if quantized is not None:
        raise PruneryError(f"{who}: {quantized[0]} is quantized already: put prune before quantize in the recipe")
    broken = next((key for key, weight in weights(network).items() if not weight.isfinite().all()), None)
    if broken is not None:
        raise PruneryError(f"{who}: the parent's {broken} holds NaN or infinity: train with a lower learning rate")


def check_measured(method: PruneMethod, measured: Measured, who: str) -> None:
    """Refuse to go on without a measurement that the method needs."""
    for need in method.needs():
        if parse_need(need).variant not in measured:
            raise PruneryError(f"{who}: it needs {need}, which was not measured for this network")


def check_untouched(shown: Mapping[str, Tensor], originals: Mapping[str, Tensor], who: str) -> None:
    """Refuse a method that wrote to the weights it was shown."""
    for key, original in originals.items():
        if not torch.equal(shown[key], original):
            raise PruneryError(f"{who}: it changed the weight {key}, which it was only shown: mend the method")


def check_masks(masks: Mapping[str, Tensor], shown: Mapping[str, Tensor], who: str) -> None:
    """Refuse masks of unknown keys, other shapes or other types."""
    for key, mask in masks.items():
        if key not in shown:
            raise PruneryError(f"{who}: it answered with a mask for {key!r}, which is no compressible weight")
        if mask.dtype != torch.bool or mask.shape != shown[key].shape:
            found, wanted = (
                f"{dtype} {list(shape)}" for dtype, shape in ((mask.dtype, mask.shape), (torch.bool, shown[key].shape))
            )
            raise PruneryError(f"{who}: its mask for {key} is {found}, wanted {wanted}")
