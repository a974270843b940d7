"""What the units of a structure are worth: scores of channels brought together over the layers of a group."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from prunery.contract import Layer, Measured, Score
from prunery.coupling.structure import STAYS, Structure
from prunery.errors import PruneryError
from prunery.folding import batch_norm_pairs
from prunery.layers import layer_of
from prunery.sparsity import UnmatchedError


def channel_layers(network: nn.Module, structure: Structure, measured: Measured, samples: Tensor) -> dict[str, Layer]:
    """The layers that groups name, by key.

    Where a variant measured `input_changes` (what each sample's loss changes without an input channel, to first order),
    what each output channel's unit changes by it stands beside: `removal_changes` `[out]`, mean squares over samples.
    """
    norms = dict(batch_norm_pairs(network, samples))
    removals = {variant: _removals(structure, rows) for variant, rows in measured.items()}
    found = {}
    for key in (key for group in structure.groups.values() for key in group.layers):
        layer = layer_of(network, key)
        norm = network.get_submodule(norms[name]) if (name := key.rpartition(".")[0]) in norms else None
        rows = {
            variant: {**rows[key], **removals[variant].get(key, {})}
            for variant, rows in measured.items()
            if key in rows
        }
        weight = layer.get_parameter("weight").detach()
        found[key] = Layer(key, weight, _value(layer, "bias"), _value(norm, "weight"), rows)
    return found


def _removals(structure: Structure, rows: Mapping[str, Mapping[str, Tensor]]) -> dict[str, dict[str, Tensor]]:
    """Key of a layer -> `removal_changes`, for the groups that are read by layers of which the changes are known.

    Whoever reads a unit's channels loses those inputs with it, norms and activations in between included, so that its
    changes are summed over all readers, sample by sample, before they are squared.
    """
    changes = {key: row["input_changes"].double() for key, row in rows.items() if "input_changes" in row}
    found: dict[str, dict[str, Tensor]] = {}
    for group in structure.groups.values():
        readers = [(change, structure.places(key, 1, group)) for key, change in changes.items()]
        read = [_by_unit(change, places, len(group)) for change, places in readers if (places != STAYS).any()]
        if read:
            scores = torch.stack(read).sum(0).square().mean(0)
            for key, line in group.layers.items():
                found[key] = {"removal_changes": scores[line.clamp_min(0)].masked_fill(line == STAYS, 0)}
    return found


def _by_unit(
    change: Float[Tensor, "samples in"], places: Int[Tensor, " in"], units: int
) -> Float[Tensor, "samples units"]:
    """The changes of input channels, summed over those that go with each unit."""
    here = places != STAYS
    return change.new_zeros(len(change), units).index_add_(1, places[here], change[:, here])


def _value(layer: nn.Module | None, name: str) -> Tensor | None:
    value = getattr(layer, name, None)
    return value.detach() if isinstance(value, Tensor) else None


def group_scores(
    structure: Structure,
    layers: Mapping[str, Layer],
    score: Score,
    generator: torch.Generator,
    exclude: Iterable[str] = (),
    aggregate: str = "mean",
    normalize: str = "none",
) -> dict[str, Float[Tensor, " units"]]:
    """The scores of each group's units, over all groups that are not excluded and that the score speaks of.

    A unit's score in a layer is the mean over its channels there. Raises `PruneryError` if no group is left, or a score
    is not finite or does not fit.
    """
    found = {}
    for name in included(structure, exclude):
        group = structure.groups[name]
        parts = [_unit_scores(layers[key], line, len(group), score, generator) for key, line in group.layers.items()]
        known = [part for part in parts if part is not None]
        if known:
            found[name] = _normalized(_aggregated(torch.stack(known), aggregate), normalize)
    if not found:
        raise PruneryError(f"score {score.name!r} says nothing of any layer that can lose channels: choose another")
    return found


def _unit_scores(
    layer: Layer, line: Tensor, units: int, score: Score, generator: torch.Generator
) -> Float[Tensor, " units"] | None:
    values = score.score(layer, generator)
    if values is None:
        return None
    if not isinstance(values, Tensor) or values.shape != line.shape or not bool(values.isfinite().all()):
        found = f"{list(values.shape)} numbers" if isinstance(values, Tensor) else f"a {type(values).__name__}"
        raise PruneryError(
            f"score {score.name!r} answers for {layer.key} with {found}, wanted a tensor of {len(line)} finite numbers"
        )
    here = line != STAYS
    totals = torch.zeros(2, units, dtype=torch.float64)
    totals[0].index_add_(0, line[here], values[here].double().cpu())
    totals[1].index_add_(0, line[here], torch.ones(int(here.sum()), dtype=torch.float64))
    return totals[0] / totals[1].clamp_min(1)


def _aggregated(scores: Float[Tensor, "layers units"], how: str) -> Float[Tensor, " units"]:
    if how == "max":
        return scores.amax(0)
    return scores.mean(0) if how == "mean" else scores.sum(0)


def _normalized(scores: Float[Tensor, " units"], how: str) -> Float[Tensor, " units"]:
    size = {"none": 1.0, "mean": float(scores.abs().mean()), "norm": float(scores.norm())}[how]
    return scores / size if size > 0 else scores


def included(structure: Structure, exclude: Iterable[str]) -> list[str]:
    """The groups of which no layer matches a pattern. Raises `PruneryError` if none is left."""
    patterns = list(exclude)
    left_out = {name for pattern in patterns for name in matching(pattern, structure, "exclude", structure.fixed)}
    left = [name for name in structure.groups if name not in left_out]
    if not left:
        raise PruneryError(f"the setting exclude ({', '.join(patterns)}) leaves no layer")
    return left


def units_left(units: int, share: float) -> int:
    """Units that stay when a share goes: floor(units * (1 - share)), the share being read to nine digits."""
    return math.floor(round(units * (1 - share), 9))


def best(scores: Float[Tensor, " units"], count: int) -> Bool[Tensor, " units"]:
    """True for the `count` units of highest score; of equal ones, later units stay."""
    mask = torch.ones(len(scores), dtype=torch.bool)
    mask[scores.argsort(stable=True)[: len(scores) - count]] = False
    return mask


def matching(pattern: str, structure: Structure, setting: str, also: Iterable[str] = ()) -> list[str]:
    """The groups with a layer that a pattern of a setting matches.

    Raises `PruneryError` if there is none, nor one of `also`.
    """
    found = [name for name, group in structure.groups.items() if any(fnmatchcase(key, pattern) for key in group.layers)]
    if not found and not any(fnmatchcase(key, pattern) for key in also):
        for key, why in structure.fixed.items():
            if fnmatchcase(key, pattern):
                raise PruneryError(f"the setting {setting}: the channels of {key} cannot go: {why}")
        raise UnmatchedError(setting, pattern, (key for group in structure.groups.values() for key in group.layers))
    return found
