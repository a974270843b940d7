"""Gates: what must hold of the networks a job made before they are written.

Every method that turns one network into another passes them: no NaN, the change it promises (a silent no-op is an
error), and agreement with the parent's outputs where it promises that. A job that fails a gate writes nothing.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Mapping
from math import prod
from statistics import fmean
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from prunery.checkpoint import Checkpoint, Replica
from prunery.contract import Method
from prunery.data import Spec
from prunery.errors import PruneryError
from prunery.layers import compressible, quantized_layers
from prunery.leftout import beware

SAMPLES = 8
"""Random inputs on which a method that promises agreement is compared with its parent."""


class Change(NamedTuple):
    """A promise that a figure of the network rises (`sign` 1) or falls (-1)."""

    figure: Callable[[nn.Module], int]
    sign: int
    words: str


def frozen(network: nn.Module) -> int:
    """Weights that masks hold at zero."""
    return sum(int((~mask).sum()) for key, mask in network.named_buffers() if key.endswith("/mask"))


def parameters(network: nn.Module) -> int:
    """Parameters, and weights that were quantized."""
    stored = sum(prod(layer.shape) for _, layer in quantized_layers(network))
    return stored + sum(parameter.numel() for parameter in network.parameters())


def layers(network: nn.Module) -> int:
    """`Linear` and `Conv2d` layers, in floating point or quantized."""
    return sum(1 for found in (compressible, quantized_layers) for _ in found(network))


def bits(network: nn.Module) -> int:
    """Bits of everything stored but masks."""
    stored = network.state_dict().items()
    return sum(8 * value.numel() * value.element_size() for key, value in stored if not key.endswith("/mask"))


FIGURES = {
    "zeros": Change(frozen, 1, "more weights held at zero"),
    "parameters": Change(parameters, -1, "fewer parameters"),
    "layers": Change(layers, -1, "fewer layers"),
    "bits": Change(bits, -1, "fewer stored bits"),
}
"""What a method may promise in `changes`, beside `values` (any stored value differs) and `graph` (edits were added)."""


def check(method: Method, parent: Checkpoint, replicas: dict[int, Replica], diverged: Collection[int] = ()) -> None:
    """Let what `method` made of `parent` pass. Raises `PruneryError` naming the method, the seed and the fault.

    Replicas whose training `diverged` may be what they were: they keep the weights of an earlier epoch.
    """
    for seed, replica in replicas.items():
        who = f"{method.stage} method {method.name!r}, seed {seed}"
        before, after = parent.replicas[seed].network, replica.network
        check_finite(after, who)
        for change in method.promises() if seed not in diverged else ():
            _check_change(change, parent.replicas[seed], replica, who)
        if method.agreement is not None:
            _check_agreement(method.agreement, before, after, parent.origin.spec, who)


def emptied(before: nn.Module, after: nn.Module) -> list[str]:
    """Keys of layers whose every weight a job's masks took away: allowed, but seldom meant."""
    bare = {key for key, mask in before.named_buffers() if key.endswith("/mask") and not mask.any()}
    masks = (key for key, mask in after.named_buffers() if key.endswith("/mask") and not mask.any())
    return [key.removesuffix("/mask") for key in masks if key not in bare]


def warnings(parent: Checkpoint, replicas: Mapping[int, Replica]) -> list[str]:
    """What is allowed and seldom meant, one line for all seeds that it is true of."""
    empty: dict[str, list[str]] = {}
    partial = []
    for seed, replica in replicas.items():
        before = parent.replicas[seed]
        if layers := emptied(before.network, replica.network):
            empty.setdefault(", ".join(layers), []).append(str(seed))
        partial.append(beware(replica.network, replica.edits[len(before.edits) :]))
    found = [f"seed {', '.join(seeds)} has no weight left in {layers}" for layers, seeds in empty.items()]
    return [*dict.fromkeys(filter(None, partial)), *found]


def check_finite(network: nn.Module, who: str) -> None:
    """Refuse a network with a stored value that is NaN or infinite."""
    for key, value in network.state_dict().items():
        if value.is_floating_point() and not bool(value.isfinite().all()):
            raise PruneryError(f"{who}: it left NaN or infinity in {key}: lower the learning rate or compress less")


def check_floor(figures: Mapping[str, Any], floor: float, who: str) -> None:
    """Refuse a recipe whose mean validation accuracy is below what the config asks of it."""
    found = fmean(replica["validation"]["accuracy"] for replica in figures["replicas"].values())
    if found < floor:
        raise PruneryError(
            f"{who}: its mean validation accuracy {found:.4f} is below the floor {floor:g} that the config sets"
        )


def _check_change(change: str, before: Replica, after: Replica, who: str) -> None:
    remedy = "change its settings or drop this step"
    if change in ("values", "graph"):
        if change == "graph":
            same = before.edits == after.edits
        else:
            same = _same(before.network.state_dict(), after.network.state_dict())
        if same:
            raise PruneryError(f"{who}: it changed nothing: {remedy}")
        return
    figure, sign, words = FIGURES[change]
    was, is_now = figure(before.network), figure(after.network)
    if sign * is_now <= sign * was:
        raise PruneryError(f"{who}: it promises {words}, but there were {was:,} and are {is_now:,}: {remedy}")


def _same(before: dict[str, Tensor], after: dict[str, Tensor]) -> bool:
    if before.keys() != after.keys():
        return False
    return all(torch.equal(before[key], after[key].to(before[key].device)) for key in before)


def _check_agreement(tolerance: float, before: nn.Module, after: nn.Module, spec: Spec, who: str) -> None:
    inputs = spec.random(SAMPLES, torch.Generator().manual_seed(0))
    with torch.no_grad():
        wanted, found = (copy.deepcopy(network).cpu().eval()(inputs) for network in (before, after))
    apart = float((found - wanted).abs().max() / wanted.abs().max().clamp_min(torch.finfo(wanted.dtype).tiny))
    if not apart <= tolerance:
        raise PruneryError(
            f"{who}: it promises its parent's outputs within {tolerance:g} of the largest logit, "
            f"but they are {apart:.2g} apart: this is a fault of the method"
        )
