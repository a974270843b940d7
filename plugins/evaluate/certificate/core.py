"""All figures of one network beside its dense one."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch import Tensor, nn

from .inequalities import Verdict
from .judging import Certified, Figures, Judge, named, spelled
from .parts import gathered, largest_inputs, layer_parts, reference


def certificates(
    network: nn.Module, dense: nn.Module, batches: Iterable[tuple[Tensor, Tensor]], settings: Any
) -> dict[str, Any]:
    """Figures of the network and, under `layers`, of each layer, by key of its weight; see the card.

    Raises `PruneryError` if there are no samples, or a weight is not finite.
    """
    inputs, labels = gathered(batches)
    example = inputs[:1].to(next(dense.parameters()).dtype) if inputs.is_floating_point() else inputs[:1]
    whole = reference(network, dense, example)
    parts = layer_parts(network, whole, settings.removed)
    changed = {key: each for key, each in parts.items() if each is not None and bool(each.removed.any())}
    seen = largest_inputs(whole, changed, inputs, settings.batch)
    layers: dict[str, dict[str, float]] = {key: {"proxy": changed[key].norm * float(seen[key].mean())} for key in seen}
    found = {"proxy": sum(row["proxy"] for row in layers.values()), "gone_layers": list(parts.values()).count(None)}
    if settings.bounds:
        judge = Judge(whole, inputs, labels, settings)
        made = {key: row for key, each in changed.items() if (row := judge.layer(key, each))}
        for key, row in made.items():
            layers.setdefault(key, {}).update(row.told)
        found |= summary(made) | judge.sequence({key: changed[key] for key in made}, network)
        found["left_out_layers"] = len(changed) - len(made)
    return {**found, "layers": layers}


def summary(layers: dict[str, Certified]) -> Figures:
    """Over the layers: the worst verdict of each inequality, apart for those whose constants are exact and others."""
    found: Figures = {"exact_layers": sum(row.exact for row in layers.values())}
    found["sampled_layers"] = len(layers) - found["exact_layers"]
    for exact in (True, False):
        rows = [row for row in layers.values() if row.exact == exact]
        worst: dict[int, Verdict] = {}
        for number in sorted({number for row in rows for number in row.verdicts}):
            each = [row.verdicts[number] for row in rows if number in row.verdicts]
            worst[number] = Verdict(min(one.slack for one in each), all(one.holds for one in each))
        certified = [row.figures["certified"] for row in rows if "certified" in row.figures]
        found |= named(spelled(worst) | ({"certified_layers": sum(certified)} if certified else {}), exact)
    return found
