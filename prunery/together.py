"""Bases that one job trains together, since the grid they come from says so (`together`).

Such a batch is a rule of its own with every checkpoint among its outputs. In company a network ends up as alone to
float tolerance, not bit for bit, so who trains with whom is part of what the job is told: if a member is added or
changed, its batch is trained again, and no other.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from prunery.config import told_as
from prunery.grids import batches

if TYPE_CHECKING:
    from prunery.workflow import Workflow


@dataclass(frozen=True)
class Together:
    """One batch as its rule sees it; `rule` is the rule's name."""

    rule: str
    folders: list[str]
    data: str
    weights: list[str]
    networks: list[str]
    histories: list[str]
    log: str
    job: Callable[[Any], str]


def trained_together(study: Workflow) -> list[Together]:
    """The batches of the study's grids."""
    found = []
    for template, grid in study.study.grids.items():
        with told_as(f"grids.{template}"):
            groups = batches(template, grid).items()
            found += [_together(study, name, bases) for name, bases in groups if bases[0] not in study.absent]
    return found


def _together(study: Workflow, name: str, bases: list[str]) -> Together:
    folders = [study.dense_folder(base) for base in bases]
    seeds = folders[0].partition("/")[2]
    told = study.told_together(bases, seeds.removeprefix("seeds="))
    return Together(
        rule=f"train_{name}",
        folders=folders,
        data=study.data_of(bases[0]),
        weights=list(dict.fromkeys(_weights(study, bases))),
        networks=[study.network(folder) for folder in folders],
        histories=[f"{study.root}/{folder}/history.json" for folder in folders],
        log=f"logs/{study.root}/{name}/{seeds}/train.log",
        job=lambda wildcards: json.dumps(told),
    )


def _weights(study: Workflow, bases: list[str]) -> Iterator[str]:
    for base in bases:
        yield from study.weights_of(base)
