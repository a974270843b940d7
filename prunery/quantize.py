"""The stage `quantize`: a method chooses integers and grids, this module checks the choice and puts it in place."""

from __future__ import annotations

import copy
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from prunery.checkpoint import Checkpoint, Replica
from prunery.contract import Measured, Quantizer
from prunery.edits import float_edit, fold_edit, integers_edit, replay
from prunery.errors import PruneryError
from prunery.folding import batch_norm_pairs
from prunery.integer import Affine, IntegerPlan
from prunery.layers import compressible, integer_layers, is_plain, layer_of
from prunery.simulating import FakeQuantized, simulating_layers, with_observed

MASK = "weight/mask"


def quantize(method: Quantizer, parent: Checkpoint, measured: Mapping[int, Measured]) -> dict[int, Replica]:
    """Quantize every replica of a checkpoint by itself; the parent is left as it was.

    Batch norms are folded into the layers before them first. `measured` holds, by seed, what `method.needs()` asks
    for; for a network that simulates quantization also `observed`, the grids it trained with. Layers that simulate and
    get no plan go back to floating point. Raises `PruneryError` if a network is quantized already or holds NaN, a
    measurement is absent, or the method answers with a plan that does not fit, brings pruned weights back or changes
    its input.
    """
    example = parent.origin.spec.example(1)
    return {
        seed: _quantize_one(method, replica, measured.get(seed, {}), seed, example)
        for seed, replica in parent.replicas.items()
    }


def _quantize_one(method: Quantizer, parent: Replica, measured: Measured, seed: int, example: Tensor) -> Replica:
    who = f"quantize method {method.name!r}, seed {seed}"
    _check_network(parent.network, who)
    _check_measured(method, measured, who)
    network = copy.deepcopy(parent.network)
    pairs = batch_norm_pairs(network, example)
    edits = [fold_edit(pairs)] if pairs else []
    replay(network, edits)
    plans = _plans(method, network, with_observed(measured, network), who)
    left = [key for key, _ in simulating_layers(network) if key not in plans]
    replacing = [integers_edit(list(plans)), *([float_edit(left)] if left else [])]
    replay(network, replacing)
    layers = dict(integer_layers(network))
    for key, plan in plans.items():
        layers[key].fill(plan)
    return Replica(network, [*parent.edits, *edits, *replacing])


def _plans(method: Quantizer, network: nn.Module, measured: Measured, who: str) -> dict[str, IntegerPlan]:
    """The method's plans, checked."""
    shown = {key: layer.get_parameter("weight").detach() for key, layer in compressible(network) if _is_known(layer)}
    before = {key: weight.clone() for key, weight in shown.items()}
    plans = method.plan(shown, measured)
    for key, weight in before.items():
        if not torch.equal(shown[key], weight):
            raise PruneryError(f"{who}: it changed the weight {key}, which it may only look at: a bug of the method")
    for key, plan in plans.items():
        if key not in shown:
            raise PruneryError(f"{who}: it answered with a plan for {key!r}, which is no compressible weight")
        _check_plan(plan, layer_of(network, key), f"{who}: its plan for {key}")
    return plans


def _is_known(layer: nn.Module) -> bool:
    """Whether integers can compute what the layer does; subclasses with a forward of their own stay as they are."""
    return is_plain(layer) or isinstance(layer, FakeQuantized)


def _check_network(network: nn.Module, who: str) -> None:
    quantized = next(integer_layers(network), None)
    if quantized is not None:
        raise PruneryError(f"{who}: {quantized[0]} is quantized to integers already: quantize once in a recipe")
    for key, value in network.state_dict().items():
        if value.is_floating_point() and not value.isfinite().all():
            raise PruneryError(f"{who}: the parent's {key} holds NaN or infinity: train with a lower learning rate")


def _check_measured(method: Quantizer, measured: Measured, who: str) -> None:
    for need in method.needs():
        if need.partition("=")[2] not in measured:
            raise PruneryError(f"{who}: it needs {need}, which was not measured for this network")


def _check_plan(plan: IntegerPlan, layer: nn.Module, who: str) -> None:
    weight = layer.get_parameter("weight")
    found, wanted = (f"{dtype} {list(shape)}" for dtype, shape in (_kind(plan.weight), (torch.int8, weight.shape)))
    if found != wanted:
        raise PruneryError(f"{who} holds weights {found}, wanted {wanted}")
    if plan.scale.shape != weight.shape[:1] or not (plan.scale.isfinite() & (plan.scale > 0)).all():
        raise PruneryError(f"{who} wants one positive scale per output channel, {len(weight)} of them")
    for grid in (plan.input, plan.output):
        if not _is_grid(grid):
            raise PruneryError(f"{who} has a grid that is none: {grid} (scale above 0, zero point in 0..255)")
    if MASK in layer._buffers and plan.weight[~layer.get_buffer(MASK).to(plan.weight.device)].any():
        raise PruneryError(f"{who} makes pruned weights nonzero: zero must stay zero, so use symmetric weights")


def _kind(tensor: Tensor) -> tuple[torch.dtype, torch.Size]:
    return tensor.dtype, tensor.shape


def _is_grid(grid: Affine) -> bool:
    return 0 < grid.scale < float("inf") and 0 <= grid.zero_point <= 255
