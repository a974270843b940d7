"""The kinds of test that a claim may state, checked strictly."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterable
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo, field_validator, model_validator

from prunery.errors import unknown
from prunery.recipe import expand

FIGURES = ("accuracy", "loss", "agreement", "divergence", "teacher_agreement", "teacher_divergence")
SEEDED = (
    *(f"{split}_{figure}" for split in ("validation", "test") for figure in FIGURES),
    "parameters", "nonzero", "weight_sparsity", "sparsity", "bits", "file_bytes", "macs", "macs_pattern",
)  # fmt: skip
"""Metrics of a replica, from `evaluate`; those of a teacher are had by students alone."""

TIMED = ("speedup", "latency_ms", "throughput", "integer_share")
"""Metrics that a recipe has once on each backend, from `bench`."""

AMOUNTS = tuple(f"{stage}_amount" for stage in ("prune", "finetune", "distill", "quantize"))
"""The number behind `@` of a recipe's last step of a stage."""

_OTHER = re.compile(r"(validation|test)_[a-z][a-z0-9_]*")
"""What a figure of another evaluation than the standard one may be called."""
_EXPECTATION = re.compile(r"(>=|<=|>|<)\s*([+-]?[0-9]*\.?[0-9]+)")


class Strict(BaseModel):
    """A part of a claim: unknown keys are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


def listed(value: Any) -> Any:
    """A single text may stand for a list of one."""
    return [value] if isinstance(value, str) else value


class Pick(Strict):
    """Which recipes: every base with every recipe. `dense` is the recipe without steps."""

    base: list[str] = Field(min_length=1, description="names of bases")
    recipe: list[str] = Field(min_length=1, description="recipes without base and seeds, short spellings allowed")
    evaluate: str | None = Field(None, description="the evaluate variant; the first one if left out")

    _as_list = field_validator("base", "recipe", mode="before")(listed)

    @property
    def recipes(self) -> list[str]:
        """The recipes written out."""
        return [recipe for text in self.recipe for recipe in expand(text)]


class Other(Pick):
    """The second side of a comparison: without `base` it takes the bases of the first."""

    base: list[str] = Field([], description="names of bases, as many as in `a` or one")


class Expectation(Strict):
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


def _one_of(names: Iterable[str], *picks: str) -> Callable[[str, ValidationInfo], str]:
    """A check of a metric: one of these names, or any figure of a split where each of `picks` names its `evaluate`."""
    known = tuple(names)

    def check(value: str, info: ValidationInfo) -> str:
        named = [getattr(info.data.get(pick), "evaluate", None) for pick in picks]
        if value in known or (named and all(named) and _OTHER.fullmatch(value)):
            return value
        raise ValueError(unknown("metric", value, known))

    return check


class _Test(Strict):
    expect: Expectation

    _parsed = field_validator("expect", mode="before")(_expectation)


class _Comparison(_Test):
    """Two sides, matched base by base and recipe by recipe; a single one goes with each of the other side's."""

    a: Pick
    b: Other
    metric: str

    _known = field_validator("metric")(_one_of(SEEDED, "a", "b"))

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
    of: Pick
    x: str
    y: str

    _known = field_validator("x", "y")(_one_of((*SEEDED, *AMOUNTS), "of"))


class Threshold(_Test):
    """A metric's interval (over seeds; for times that of the measurement) is held against `expect`."""

    kind: Literal["threshold"]
    of: Pick
    metric: str
    backend: list[str] = Field(["all"], description="for times: backends by name, or all that gave a time")

    _as_list = field_validator("backend", mode="before")(listed)
    _known = field_validator("metric")(_one_of((*SEEDED, *TIMED), "of"))


Names = Annotated[list[str], BeforeValidator(listed), Field(min_length=1)]


class QuantityTest(_Test):
    """The intervals of quantities that an analysis found are held against `expect`, each by itself."""

    kind: Literal["quantity"]
    analyse: str = Field(description="the variant of `analyse`")
    quantity: Names = Field(description="quantities by name")


class QuantitiesTest(_Test):
    """`a - b` of quantities that an analysis found, pair by pair: the interval of the difference is held against
    `expect`. A single one goes with each of the other side's; a chain x <= y <= z is `a: [x, y], b: [y, z]`.
    """

    kind: Literal["quantities"]
    analyse: str = Field(description="the variant of `analyse`")
    a: Names
    b: Names
    ratio: bool = Field(default=False, description="take a / b instead")

    @model_validator(mode="after")
    def _matched(self) -> Self:
        self.pairs()
        return self

    def pairs(self) -> list[tuple[str, str]]:
        """The pairs of names. Raises `ValueError` if they do not match."""
        return _zipped("names", self.a, self.b)


Test = Difference | Wilcoxon | RankCorrelation | Threshold | QuantityTest | QuantitiesTest
KINDS: dict[str, type[_Test]] = {
    "difference": Difference,
    "wilcoxon": Wilcoxon,
    "rank_correlation": RankCorrelation,
    "threshold": Threshold,
    "quantity": QuantityTest,
    "quantities": QuantitiesTest,
}
