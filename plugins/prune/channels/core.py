"""From scores of channels to the units that stay: shares by layer, by rank, by profile or by sensitivity."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from prunery import PruneryError
from prunery.allocating import allocate, curves
from prunery.coupling.ranking import best, matching, units_left
from prunery.coupling.structure import Group, Kept, Structure

Counts = dict[str, int]
"""By name of a group, how many units stay."""
STEPS = 4096
"""Levels that are tried under scope sensitivity, evenly between nothing and all that was measured."""


# --- how many stay ---------------------------------------------------------------------------------------------------


def chosen(
    structure: Structure, scores: Mapping[str, Float[Tensor, " units"]], settings: Any, rows: Mapping[str, Any]
) -> Kept:
    """True where a unit stays: those of highest score; of equal ones, later units.

    Raises `PruneryError` if a share leaves no channel of a layer, or the share of the target cannot be reached.
    """
    groups = {name: structure.groups[name] for name in scores}
    if settings.scope == "profile":
        shares = _profile(structure, groups, settings)
        counts = {name: _count(group, shares[name], settings, strict=True) for name, group in groups.items()}
    elif settings.scope == "layer" and settings.target == "channels":
        counts = {name: _count(group, settings.share, settings, strict=True) for name, group in groups.items()}
    else:
        counts = _searched(structure, groups, _family(structure, groups, scores, settings, rows), scores, settings)
    return _highest(scores, counts)


def _highest(scores: Mapping[str, Tensor], counts: Counts) -> dict[str, Tensor]:
    kept = {name: best(values, counts[name]) for name, values in scores.items()}
    return {name: mask for name, mask in kept.items() if not bool(mask.all())}


def _count(group: Group, share: float, settings: Any, strict: bool = False) -> int:
    """Units that stay when a share goes: floor(units * (1 - share)), as the paper has it, then rounded up."""
    count = units_left(len(group), share)
    if strict and count < 1 and settings.least < 1:
        raise PruneryError(
            f"a share of {share:g} leaves none of the {len(group)} channels of {group.name}: lower it, or set least"
        )
    return _rounded(group, count, settings)


def _rounded(group: Group, count: int, settings: Any) -> int:
    """At least `least` units, one in any case, and a multiple of `round_to` channels if there are as many."""
    step = settings.round_to // math.gcd(settings.round_to, group.width)
    count = max(count, settings.least, 1)
    return min(len(group), math.ceil(count / step) * step)


def _profile(structure: Structure, groups: Mapping[str, Group], settings: Any) -> dict[str, float]:
    """The share that each group loses."""
    profile = settings.profile
    if isinstance(profile, tuple):
        if len(profile) != len(groups):
            raise PruneryError(
                f"the setting profile has {len(profile)} shares for {len(groups)} groups of layers: {', '.join(groups)}"
            )
        return dict(zip(groups, profile, strict=True))
    shares = dict.fromkeys(groups, settings.share)
    for pattern, share in profile.items():
        shares |= dict.fromkeys(matching(pattern, structure, "profile"), share)
    return shares


# --- a target for the whole network ----------------------------------------------------------------------------------


def _family(
    structure: Structure,
    groups: Mapping[str, Group],
    scores: Mapping[str, Tensor],
    settings: Any,
    rows: Mapping[str, Any],
) -> tuple[int, Callable[[int], Counts]]:
    """How many levels there are from nothing removed to most, and what stays at each; more goes at every level."""
    if settings.scope == "layer":
        shares = sorted({part / len(group) for group in groups.values() for part in range(len(group))})
        return len(shares), lambda level: {
            name: _count(group, shares[level], settings) for name, group in groups.items()
        }
    if settings.scope == "global":
        order = _order(groups, scores, settings)
        return len(order) + 1, lambda level: _after(groups, order[:level], settings)
    costs = {name: _cost(structure, name, settings.target) for name in groups}
    measured = curves(rows, groups, "channels")
    most = {name: max(curve.shares) for name, curve in measured.items()}
    whole = sum(costs[name] * most[name] for name in groups) * (1 - 1e-9)

    def counts(level: int) -> Counts:
        shares = allocate(measured, costs, whole * level / STEPS)
        return {name: _count(group, shares[name], settings) for name, group in groups.items()}

    return STEPS + 1, counts


def _order(groups: Mapping[str, Group], scores: Mapping[str, Tensor], settings: Any) -> list[str]:
    """The groups that units belong to, from the lowest score up, less what each group keeps in any case."""
    values = torch.cat(
        [scores[name].sort(stable=True).values[: len(group) - max(1, settings.least)] for name, group in groups.items()]
    )
    names = [name for name, group in groups.items() for _ in range(max(0, len(group) - max(1, settings.least)))]
    return [names[place] for place in values.argsort(stable=True).tolist()]


def _after(groups: Mapping[str, Group], removed: Sequence[str], settings: Any) -> Counts:
    counts = {name: len(group) for name, group in groups.items()}
    for name in removed:
        counts[name] -= 1
    return {name: _rounded(group, counts[name], settings) for name, group in groups.items()}


def _searched(
    structure: Structure,
    groups: Mapping[str, Group],
    family: tuple[int, Callable[[int], Counts]],
    scores: Mapping[str, Tensor],
    settings: Any,
) -> Counts:
    """What stays at the first level at which the share of the target is gone."""
    levels, counts = family

    def gone(level: int) -> float:
        return _gone(structure, groups, counts(level), scores, settings.target)

    level = bisect_left(range(levels), settings.share - 1e-12, key=gone)
    if level == levels:
        raise PruneryError(
            f"at most {gone(levels - 1):.1%} of the {settings.target} can go under these settings, "
            f"not {settings.share:.1%}: ask for less"
        )
    return counts(level)


def _gone(
    structure: Structure, groups: Mapping[str, Group], counts: Counts, scores: Mapping[str, Tensor], target: str
) -> float:
    """The share of the target that is gone."""
    if target == "channels":
        total, left = (
            sum(group.width * number[name] for name, group in groups.items())
            for number in ({name: len(group) for name, group in groups.items()}, counts)
        )
        return 1 - left / total
    place = ("parameters", "macs").index(target)
    return 1 - structure.sizes(_highest(scores, counts))[place] / structure.sizes({})[place]


def _cost(structure: Structure, name: str, target: str) -> float:
    """What a whole group costs, by what one of its units does."""
    group = structure.groups[name]
    if target == "channels":
        return float(group.width * len(group))
    place = ("parameters", "macs").index(target)
    one = {name: torch.arange(len(group)) > 0}
    return float(len(group) * (structure.sizes({})[place] - structure.sizes(one)[place]))
