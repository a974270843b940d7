"""The language of claims: what a `claims.yaml` may say, checked strictly.

A claim names a test over the table of results. Results are picked by `base` and `recipe` (short spellings of recipes
are expanded as in the config); a claim about several of them holds only if it holds for each.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from prunery.config import Profile
from prunery.errors import PruneryError, unknown
from prunery.recipe import expand
from prunery.yamlfile import read_yaml

SEEDED = (
    *(f"{split}_{figure}" for split in ("validation", "test") for figure in ("accuracy", "loss", "agreement")),
    "parameters", "nonzero", "weight_sparsity", "sparsity", "bits", "file_bytes", "macs",
)  # fmt: skip
"""Metrics that every replica has, from `evaluate`."""

TIMED = ("speedup", "latency_ms", "throughput", "integer_share")
"""Metrics that a recipe has once on each backend, from `bench`."""

AMOUNTS = tuple(f"{stage}_amount" for stage in ("prune", "finetune", "distill", "quantize"))
"""The number behind `@` of a recipe's last step of a stage."""

_EXPECTATION = re.compile(r"(>=|<=|>|<)\s*([+-]?[0-9]*\.?[0-9]+)")


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


class Pick(_Strict):
    """Which recipes: every base with every recipe. `dense` is the recipe without steps."""

    base: list[str] = Field(min_length=1, description="names of bases")
    recipe: list[str] = Field(min_length=1, description="recipes without base and seeds, short spellings allowed")
    evaluate: str | None = Field(None, description="the evaluate variant; the first one if left out")

    _as_list = field_validator("base", "recipe", mode="before")(_listed)

    @property
    def recipes(self) -> list[str]:
        """The recipes written out."""
        return [recipe for text in self.recipe for recipe in expand(text)]


class Other(Pick):
    """The second side of a comparison: without `base` it takes the bases of the first."""

    base: list[str] = Field([], description="names of bases, as many as in `a` or one")


class Expectation(_Strict):
    """A comparison with a number, written such as `>= -0.02`."""

    sign: Literal[">", ">=", "<", "<="]
    bound: float

    def __str__(self) -> str:
        return f"{self.sign} {self.bound:g}"

    def met_by(self, value: float) -> bool:
        """Whether a number is as expected."""
        compare = {">": operator.gt, ">=": operator.ge, "<": operator.lt, "<=": operator.le}
        return bool(compare[self.sign](value, self.bound))


def _expectation(value: Any) -> Any:
    found = _EXPECTATION.fullmatch(str(value).strip())
    if not found:
        raise ValueError("write a sign and a number, such as '>= -0.02'")
    return {"sign": found[1], "bound": float(found[2])}


def _one_of(names: Iterable[str]) -> Callable[[str], str]:
    known = tuple(names)

    def check(value: str) -> str:
        if value not in known:
            raise ValueError(unknown("metric", value, known))
        return value

    return check


class _Test(_Strict):
    expect: Expectation

    _parsed = field_validator("expect", mode="before")(_expectation)


class _Comparison(_Test):
    """Two sides, matched base by base and recipe by recipe; a single one goes with each of the other side's."""

    metric: str
    a: Pick
    b: Other

    _known = field_validator("metric")(_one_of(SEEDED))

    @model_validator(mode="after")
    def _matched(self) -> Self:
        self.pairs()
        return self

    def pairs(self) -> list[tuple[str, str, str, str]]:
        """(base of a, recipe of a, base of b, recipe of b) of every pair. Raises `ValueError` if they do not match."""
        bases = _zipped("base", self.a.base, self.b.base or self.a.base)
        recipes = _zipped("recipe", self.a.recipes, self.b.recipes)
        return [(base_a, recipe_a, base_b, recipe_b) for base_a, base_b in bases for recipe_a, recipe_b in recipes]


def _zipped(key: str, first: list[str], second: list[str]) -> list[tuple[str, str]]:
    length = max(len(first), len(second))
    if {len(first), len(second)} - {1, length}:
        raise ValueError(f"{key} of a and b do not match: {len(first)} against {len(second)}")
    return list(zip(*(side * length if len(side) == 1 else side for side in (first, second)), strict=True))


class Difference(_Comparison):
    """`a - b`, paired by base and seed: the t interval of its mean is held against `expect`."""

    kind: Literal["difference"]
    relative: bool = Field(False, description="take (a - b) / b instead")


class Wilcoxon(_Comparison):
    """`a - b`, paired by base, recipe and seed, pooled: a one-sided signed-rank test at 5% on each side of `expect`."""

    kind: Literal["wilcoxon"]


class RankCorrelation(_Test):
    """Spearman's rho of two columns over the picked recipes, seed by seed: the t interval of its mean over seeds."""

    kind: Literal["rank_correlation"]
    x: str
    y: str
    of: Pick

    _known = field_validator("x", "y")(_one_of((*SEEDED, *AMOUNTS)))


class Threshold(_Test):
    """A metric's interval (over seeds; for times that of the measurement) is held against `expect`."""

    kind: Literal["threshold"]
    metric: str
    of: Pick
    backend: list[str] = Field(["all"], description="for times: backends by name, or all that gave a time")

    _as_list = field_validator("backend", mode="before")(_listed)
    _known = field_validator("metric")(_one_of((*SEEDED, *TIMED)))


class Paper(_Strict):
    """What a paper gives for the same quantity; it has no part in the verdict."""

    where: str = Field(description="the table, figure or section")
    value: float | None = None


class Claim(_Strict):
    """A statement in our words and the test that decides it."""

    id: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$")
    statement: str = Field(min_length=1)
    paper: Paper | None = None
    scale: list[Profile] = Field(["smoke", "cpu", "paper"], description="profiles at which it can be tested")
    test: Annotated[Difference | Wilcoxon | RankCorrelation | Threshold, Field(discriminator="kind")]

    _as_list = field_validator("scale", mode="before")(_listed)


def read_claims(paths: Iterable[Path]) -> list[Claim]:
    """The claims of all files, in order. Raises `PruneryError` in one line naming file, claim and key."""
    claims: dict[str, Claim] = {}
    for path in paths:
        for number, raw in enumerate(_entries(path), start=1):
            name = raw.get("id", number) if isinstance(raw, dict) else number
            claim = _claim(f"{path}, claim {name}", raw)
            if claim.id in claims:
                raise PruneryError(f"{path}, claim {claim.id}: the id is used twice: rename one")
            claims[claim.id] = claim
    return list(claims.values())


def _entries(path: Path) -> list[Any]:
    entries = read_yaml(path)
    if not isinstance(entries or [], list):
        raise PruneryError(f"{path}: a claims file is a list of claims, each starting with '- id:'")
    return entries or []


def _claim(where: str, raw: Any) -> Claim:
    try:
        return Claim.model_validate(raw)
    except ValidationError as error:
        first = error.errors()[0]
        place = [str(part) for part in first["loc"]]
        key = ".".join(place) or "claim"
        if first["type"] == "extra_forbidden":
            raise PruneryError(f"{where}, {key}: {unknown('key', place[-1], _fields(place[:-1]))}") from error
        if first["type"] == "missing":
            raise PruneryError(f"{where}: the key {key} is missing") from error
        raise PruneryError(f"{where}, {key}: {first['msg']}") from error


def _fields(place: list[str]) -> Iterable[str]:
    """The keys that are known at a place in a claim."""
    if not place or place[-1] == "claim":
        return Claim.model_fields
    models = {model.model_fields["kind"].annotation.__args__[0]: model for model in _TESTS}  # type: ignore[union-attr]
    inner: dict[str, type[BaseModel]] = {"a": Pick, "b": Other, "of": Pick, "paper": Paper, **models}
    return inner[place[-1]].model_fields


_TESTS: tuple[type[_Test], ...] = (Difference, Wilcoxon, RankCorrelation, Threshold)
