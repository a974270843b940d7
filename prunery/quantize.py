"""The stage `quantize`: a method chooses how weights are stored, this module checks the choice and puts it in place."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from fnmatch import filter as matches

import torch
from torch import Tensor, nn

from prunery.checkpoint import Checkpoint, Replica
from prunery.contract import Measured, Quantizer
from prunery.edits import Edit, float_edit, fold_edit, integers_edit, replay, weights_edit
from prunery.errors import PruneryError
from prunery.folding import batch_norm_pairs
from prunery.formats import LayerSettings
from prunery.integer import IntegerPlan
from prunery.layers import compressible, is_plain, layer_of, quantized_layers
from prunery.leftout import explaining
from prunery.needs import parse_need
from prunery.plans import Plan, check_plan
from prunery.simulating import Simulating, simulating_layers, with_observed
from prunery.weightonly import WeightPlan
from prunery.wiring import wiring


def quantize(method: Quantizer, parent: Checkpoint, measured: Mapping[int, Measured]) -> dict[int, Replica]:
    """Quantize every replica of a checkpoint by itself; the parent is left as it was.

    Batch norms are folded into the layers before them first. Of one network, every layer may have a plan of another
    kind or format, or none. `measured` holds, by seed, what `method.needs()` asks
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
    pairs = [pair for pair in batch_norm_pairs(network, example) if not _simulates(network, pair[0])]
    edits = [fold_edit(pairs)] if pairs else []
    replay(network, edits)
    shown, odd = _shown(network, example)
    if isinstance(method.settings, LayerSettings):
        _check_formats(method.settings, shown, odd, who)
    with explaining(network, odd):
        plans = _plans(method, network, shown, with_observed(measured, network), who)
    left = [key for key, _ in simulating_layers(network) if key not in plans]
    replacing = [*_edits(plans), *([float_edit(left)] if left else [])]
    replay(network, replacing)
    layers = dict(quantized_layers(network))
    for key, plan in plans.items():
        layers[key].fill(plan)
    return Replica(network, [*parent.edits, *edits, *replacing])


def _simulates(network: nn.Module, layer: str) -> bool:
    """Whether a layer trained with rounded weights: with a norm folded into it, it would round others."""
    return isinstance(network.get_submodule(layer), Simulating)


def _edits(plans: Mapping[str, Plan]) -> list[Edit]:
    """What makes room for the plans: an edit for each kind there is."""
    integers = {key: plan for key, plan in plans.items() if isinstance(plan, IntegerPlan)}
    weights = {key: plan for key, plan in plans.items() if isinstance(plan, WeightPlan)}
    edits = []
    for bits in sorted({plan.bits for plan in integers.values()}, reverse=True):
        edits.append(integers_edit([key for key, plan in integers.items() if plan.bits == bits], bits))
    return [*edits, weights_edit(weights)] if weights else edits


def _shown(network: nn.Module, example: Tensor) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The weights a method may quantize, and why it may not quantize the others, by key.

    A layer must do what its class is known for, and run as a module: what reads its weight instead
    (`nn.MultiheadAttention`) would find another one there.
    """
    ran, shown, odd = wiring(network, example), {}, {}
    for key, layer in compressible(network):
        if not (is_plain(layer) or isinstance(layer, Simulating)):
            odd[key] = f"a {type(layer).__name__}, whose forward is its own"
        elif key not in ran:
            odd[key] = f"a {type(layer).__name__} that does not run as a module"
        else:
            shown[key] = layer.get_parameter("weight").detach()
    return shown, odd


def _check_formats(settings: LayerSettings, shown: Mapping[str, Tensor], odd: Mapping[str, str], who: str) -> None:
    """Refuse a format for nothing but layers that have no other format than fp32."""
    for pattern, format_ in settings.formats.items():
        others = matches(odd, pattern)
        if others and format_ != "fp32" and not matches(shown, pattern):
            raise PruneryError(
                f"{who}: {others[0]} cannot be {format_}: its layer is {odd[others[0]]} and stays in fp32: "
                f"take {pattern!r} out of the setting formats"
            )


def _plans(
    method: Quantizer, network: nn.Module, shown: Mapping[str, Tensor], measured: Measured, who: str
) -> dict[str, Plan]:
    """The method's plans, checked."""
    before = {key: weight.clone() for key, weight in shown.items()}
    plans = method.plan(shown, measured)
    for key, weight in before.items():
        if not torch.equal(shown[key], weight):
            raise PruneryError(f"{who}: it changed the weight {key}, which it may only look at: a bug of the method")
    for key, plan in plans.items():
        if key not in shown:
            raise PruneryError(f"{who}: it answered with a plan for {key!r}, which is no weight it was shown")
        check_plan(plan, layer_of(network, key), f"{who}: its plan for {key}")
    return dict(plans)


def _check_network(network: nn.Module, who: str) -> None:
    quantized = next(quantized_layers(network), None)
    if quantized is not None:
        raise PruneryError(f"{who}: {quantized[0]} is quantized already: quantize once in a recipe")
    for key, value in network.state_dict().items():
        if value.is_floating_point() and not value.isfinite().all():
            raise PruneryError(f"{who}: the parent's {key} holds NaN or infinity: train with a lower learning rate")


def _check_measured(method: Quantizer, measured: Measured, who: str) -> None:
    for need in method.needs():
        if parse_need(need).variant not in measured:
            raise PruneryError(f"{who}: it needs {need}, which was not measured for this network")
