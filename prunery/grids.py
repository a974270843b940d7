"""Grids: bases that differ in settings of their model, spelled once instead of one by one.

`mlp-{depth}x{width}` with `over: {depth: [1, 2], width: [10, 20]}` stands for the bases `mlp-1x10`, `mlp-1x20`,
`mlp-2x10` and `mlp-2x20`, each with a variant of `model` of its own name.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from itertools import product
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, Tag

from prunery.errors import PruneryError, unknown

_FIELD = re.compile(r"\{([^{}]*)\}")
LARGEST = 10_000
"""Members that a grid may have."""


Times = Annotated[int, Field(ge=0, le=64)]


def _listed(value: Any) -> Any:
    return value if isinstance(value, list) else [value]


def _spelled_out(seeds: Any) -> Any:
    return str(seeds) if type(seeds) is int else seeds


Seeds = Annotated[str, BeforeValidator(_spelled_out)]
"""A range; a single seed may be a number in YAML."""


class Choices(BaseModel):
    """Every sequence of `times` of the values `each`, such as the shapes of a perceptron; several lengths as a list."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    each: list[Any] = Field(min_length=1)
    times: Annotated[list[Times], Field(min_length=1), BeforeValidator(_listed)]


def _kind(spelled: Any) -> str:
    return "sequences" if isinstance(spelled, Mapping | Choices) else "values"


Over = Annotated[Annotated[list[Any], Tag("values")] | Annotated[Choices, Tag("sequences")], Discriminator(_kind)]
"""The values of one setting: one by one, or as sequences."""


class Grid(BaseModel):
    """The bases of one grid: `data`, `train` and `seeds` as in a base, `method` and `settings` as in a variant."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    data: str
    train: str
    method: str
    seeds: Seeds = "0-4"
    settings: dict[str, Any] = {}
    over: dict[str, Over] = Field(min_length=1)
    together: list[str] = Field(default=[], description="members differing in these keys alone are trained by one job")

    def members(self) -> Iterator[dict[str, Any]]:
        """The settings that differ, for every combination, the last key turning fastest."""
        for values in product(*map(_values, self.over.values())):
            yield dict(zip(self.over, values, strict=True))

    def count(self) -> int:
        """How many members there are, without making them."""
        total = 1
        for values in self.over.values():
            total *= sum(len(values.each) ** n for n in values.times) if isinstance(values, Choices) else len(values)
        return total


def _values(spelled: list[Any] | Choices) -> Iterator[Any]:
    if isinstance(spelled, Choices):
        return (list(found) for times in spelled.times for found in product(spelled.each, repeat=times))
    return iter(spelled)


def members(template: str, grid: Grid) -> dict[str, dict[str, Any]]:
    """Name of a base -> the settings of its model.

    Raises `PruneryError` if the name has a field that the grid lacks, lacks one that it needs, the grid is empty, or a
    setting is given twice.
    """
    for field in _FIELD.findall(template):
        if field not in grid.over:
            raise PruneryError(unknown("field of the name", field, grid.over))
    if twice := sorted(set(grid.over) & set(grid.settings)):
        raise PruneryError(f"{twice[0]!r} stands in settings and in over: remove it from one")
    if not 0 < grid.count() <= LARGEST:
        raise PruneryError(
            f"it has {grid.count():,} members: give every key of over a value, {LARGEST:,} members at most"
        )
    found: dict[str, dict[str, Any]] = {}
    for chosen in grid.members():
        name = _FIELD.sub(lambda field, chosen=chosen: _spelled(chosen[field[1]]), template)  # type: ignore[misc]
        if name in found:
            raise PruneryError(f"two of its members are called {name!r}: {_remedy(template, grid)}")
        found[name] = {**grid.settings, **chosen}
    return found


def _remedy(template: str, grid: Grid) -> str:
    """What tells members of one name apart."""
    if set(grid.over) - set(_FIELD.findall(template)):
        return "let the name hold every key of over, in braces"
    return "give no value twice, and in a sequence no two that begin with the same letter"


def batches(template: str, grid: Grid) -> dict[str, list[str]]:
    """Name of a batch -> the bases that one job trains: those whose settings differ in the keys of `together` alone.

    Raises `PruneryError` if a key of `together` is none of `over`.
    """
    for key in grid.together:
        if key not in grid.over:
            raise PruneryError(unknown("key of over", key, grid.over))
    found: dict[str, list[str]] = {}
    for name, settings in members(template, grid).items():
        chosen = {key: "all" if key in grid.together else settings[key] for key in grid.over}
        batch = _FIELD.sub(lambda field, chosen=chosen: _spelled(chosen[field[1]]), template)  # type: ignore[misc]
        found.setdefault(batch, []).append(name)
    return found if grid.together else {}


def _spelled(value: Any) -> str:
    """A value as part of a name: numbers and words as they are, sequences by the first letters of their words."""
    if isinstance(value, list):
        return "".join(str(each)[:1] for each in value) or "none"
    return str(value)


def written_out(config: Mapping[str, Any], grids: Mapping[str, Grid]) -> dict[str, Any]:
    """A config with the bases and models of its grids beside its own. Raises `PruneryError` if a name is taken."""
    bases, models = (config.get(key) or {} for key in ("bases", "model"))
    if not (isinstance(bases, Mapping) and isinstance(models, Mapping)):
        return dict(config)  # which its validation refuses
    bases, models, jobs = dict(bases), dict(models), set[str]()
    for template, grid in grids.items():
        try:
            found = members(template, grid)
            jobs |= _jobs(template, grid, jobs)
        except PruneryError as error:
            raise PruneryError(f"grids.{template}: {error}") from error
        for name, settings in found.items():
            if name in bases or name in models:
                raise PruneryError(f"grids.{template}: {name!r} is the name of another base or model: rename one")
            bases[name] = {"data": grid.data, "model": name, "train": grid.train, "seeds": grid.seeds}
            models[name] = {"method": grid.method, "settings": settings}
    return {**config, "bases": bases, "model": models}


def _jobs(template: str, grid: Grid, taken: set[str]) -> set[str]:
    """The names of a grid's batches. Raises `PruneryError` if another grid's are called so."""
    found = set(batches(template, grid))
    if clash := sorted(found & taken):
        raise PruneryError(f"{clash[0]!r} is what a job of another grid is called: begin its names with another word")
    return found
