"""Rules that choose a format for each layer."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp
from torch import Tensor

from prunery.allocating import ascending
from prunery.errors import PruneryError
from prunery.formats import stored_bits

Rows = Mapping[str, Mapping[str, Any]]


PRECISION = 1e4
"""The largest rise as the solver sees it, which calls two sums equal if they are less than 1e-6 apart."""
AVERAGE = 6.0
"""Bits per weight where no budget is set."""
ROUNDING = 1 + 1e-12
"""A budget that is met to the bit must not be missed because bits per weight are no binary fraction."""


class Option(NamedTuple):
    """A format for a layer: the bits the layer then takes, and by how much the loss rises (nats)."""

    format: str
    bits: int
    rise: float


# --- by curvature and activation variance ----------------------------------------------------------------------------


def most_curved(keys: Sequence[str], measured: Mapping[str, Rows], settings: Any) -> set[str]:
    """The `share` of the layers (rounded down) with the highest sum of min-max scaled trace and activation variance.

    Of equal sums, earlier layers come first. Raises `PruneryError` if the share rounds down to no layer, or a layer
    was not measured.
    """
    count = math.floor(settings.share * len(keys) + 1e-9)
    if count == 0:
        raise PruneryError(f"share {settings.share:g} of {len(keys)} layers is less than one: raise it")
    traces = _column(keys, measured, settings.hessian, settings.trace)
    variances = _column(keys, measured, settings.calibration, "preactivation_variance")
    scores = [trace + variance for trace, variance in zip(_scaled(traces), _scaled(variances), strict=True)]
    ranked = sorted(range(len(keys)), key=lambda place: -scores[place])
    return {keys[place] for place in ranked[:count]}


def _column(keys: Sequence[str], measured: Mapping[str, Rows], variant: str, name: str) -> list[float]:
    rows = measured[variant]
    for key in keys:
        if name not in rows.get(key, {}):
            raise PruneryError(f"calibrate={variant} holds no {name} of {key}: name the layer under exclude")
    return [float(rows[key][name]) for key in keys]


def _scaled(values: Sequence[float]) -> list[float]:
    """To 0..1 by the least and the largest; zeros if all are equal."""
    low, reach = min(values), max(values) - min(values)
    return [(value - low) / reach if reach else 0.0 for value in values]


# --- by measured loss, under a budget --------------------------------------------------------------------------------


def within_budget(weights: Mapping[str, Tensor], rows: Rows, settings: Any) -> dict[str, str]:
    """The formats of least estimated loss whose layers take no more bits than the budget allows."""
    options = {key: layer_options(key, weights[key].shape, rows, settings) for key in weights}
    counted = sum(weight.numel() for weight in weights.values())
    unit, factor, wanted = "bits per weight", counted, settings.bits or AVERAGE
    if settings.size is not None:
        unit, factor, wanted = "MiB", 8 * 2**20, settings.size
    least = sum(min(option.bits for option in choices) for choices in options.values())
    budget = math.floor(wanted * factor * ROUNDING)
    if least > budget:
        raise PruneryError(
            f"the budget of {wanted:g} {unit} cannot be met: with every layer in its shortest format it takes "
            f"{least / factor:.6g} {unit}"
        )
    return {key: option.format for key, option in cheapest(options, budget).items()}


def layer_options(key: str, shape: Sequence[int], rows: Rows, settings: Any) -> list[Option]:
    """What a layer may be stored as, longest first. Losses are made monotone in the bits: what decreases is noise.

    Raises `PruneryError` naming a layer or format that was not measured.
    """
    row = rows.get(key, {})
    names = [name for name in settings.formats if name != "fp32"]
    if absent := [name for name in names if f"loss_{name}" not in row]:
        raise PruneryError(
            f"calibrate={settings.allocation} did not measure {key} in {', '.join(absent)}: "
            "let it have mode: formats and those formats, or name the layer under exclude"
        )
    losses = {"fp32": float(row["dense_loss"])} | {name: float(row[f"loss_{name}"]) for name in names}
    sizes = {name: stored_bits(shape, name, settings.group, bool(row["bias"])) for name in losses}
    ordered = sorted(losses, key=lambda name: (-sizes[name], losses[name]))
    smooth = ascending([losses[name] for name in ordered])
    found = [Option(name, sizes[name], loss - smooth[0]) for name, loss in zip(ordered, smooth, strict=True)]
    return [option for option in found if option.format in settings.formats]


def cheapest(options: Mapping[str, Sequence[Option]], budget: int) -> dict[str, Option]:
    """One option for each layer, so that their bits fit into `budget` and the sum of rises is least.

    A multiple-choice knapsack, solved as an integer program (HiGHS) to ten digits of the largest rise. An option that
    is no better than a shorter one is never taken. `budget` must be large enough for the shortest options.
    """
    flat = [(key, option) for key, choices in options.items() for option in undominated(choices)]
    unit = math.gcd(*(option.bits for _, option in flat))
    bits = np.array([option.bits // unit for _, option in flat])
    rises = np.array([option.rise for _, option in flat])
    one_each = np.array([[key == owner for owner, _ in flat] for key in options], dtype=float)
    limit = budget // unit
    while True:
        taken = _solved(rises * (PRECISION / max(rises.max(), 1e-12)), one_each, bits, limit)
        over = int(bits[taken].sum()) - budget // unit
        if over <= 0:
            return {flat[place][0]: flat[place][1] for place in taken}
        limit -= over  # the solver's tolerance let it overshoot


def undominated(choices: Iterable[Option]) -> list[Option]:
    """The options that are better than every shorter one, shortest first."""
    kept: list[Option] = []
    for option in sorted(choices, key=lambda each: (each.bits, each.rise)):
        if not kept or option.rise < kept[-1].rise:
            kept.append(option)
    return kept


def _solved(costs: Any, one_each: Any, bits: Any, limit: int) -> Any:
    """Places of the options that the solver takes. Raises `PruneryError` if there are none."""
    constraints = [LinearConstraint(one_each, 1, 1), LinearConstraint(bits, ub=limit)]
    found = milp(costs, integrality=1, bounds=Bounds(0, 1), constraints=constraints, options={"mip_rel_gap": 0.0})
    if found.x is None:
        raise PruneryError(f"no choice of formats fits into the budget ({found.message}): raise it")
    return np.flatnonzero(found.x > 0.5)
