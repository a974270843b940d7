"""What a page shows of a study that is too large for one: everything is in the tables beside it."""

from __future__ import annotations

from collections.abc import Iterable

from prunery.reporting.results import DENSE
from prunery.reporting.statistics import pareto_front
from prunery.reporting.summary import Line

RECIPES = 1000
"""Recipes that a page shows: their rows, points, learning curves and layers."""
CARDS = 24
"""Bases whose best recipes are told at the top."""
ROWS = 60
"""Recipes that the terminal shows."""


def shown(lines: list[Line], most: int = RECIPES) -> list[Line]:
    """At most that many, in their order: those that were timed come first, then each base's Pareto front of accuracy
    against size and its dense network, then the others as the study lists them.
    """
    if len(lines) <= most:
        return lines
    kept: dict[str, None] = {}
    for group in (_timed(lines), _fronts(lines), (line for line in lines if line.recipe == DENSE), lines):
        for line in group:
            if len(kept) < most:
                kept[line.path] = None
    return [line for line in lines if line.path in kept]


def _timed(lines: list[Line]) -> Iterable[Line]:
    return (line for line in lines if line.speeds)


def _fronts(lines: list[Line]) -> Iterable[Line]:
    """The recipes of each base that no other of it beats in both size and accuracy."""
    by_base: dict[str, list[Line]] = {}
    for line in lines:
        if "bits" in line.sizes:
            by_base.setdefault(line.base, []).append(line)
    for held in by_base.values():
        front = pareto_front([line.sizes["bits"] for line in held], [line.test.mean for line in held])
        yield from (held[index] for index in front)
