"""How small a network may be, how much of it can go, and what eight bits cost, over a sweep of sizes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal, final

from pydantic import Field

from prunery import hookimpl
from prunery.families import Family, FamilyAnalyser, Name, ResampledSettings, Strict, Texts

if TYPE_CHECKING:
    from prunery.findings import Findings
    from prunery.reporting.results import Results


class Int8(Strict):
    """Where a family's 8-bit networks are: bases (the family's own if left out) and what is done to them."""

    bases: Texts | None = None
    recipe: str = Field("quantize=qat", min_length=1)


class Paper(Strict):
    """What a paper gives: parameters, share of weights, percentage points, percent."""

    minimal_parameters: float | None = None
    safe_pruning: float | None = None
    int8_gap: float | None = None
    accuracy: float | None = None


class SizedFamily(Family):
    """Networks that differ in size: bases by name or pattern, and the recipes that prune and quantize them."""

    prune: str | None = Field(None, min_length=1)
    int8: Int8 | None = None
    size: str | None = None
    stable_std: float | None = Field(None, gt=0)
    paper: Paper = Paper()

    def recipes(self) -> list[str]:
        """Everything of the family that is evaluated, in short spellings."""
        found = self.spelled(("", *([self.prune] if self.prune else [])))
        if self.int8:
            found += [f"{base}/{self.int8.recipe}" for base in self.int8.bases or self.bases]
        return found


class RegimesSettings(ResampledSettings):
    """The families, and what stable, over-fitting and safe mean."""

    families: dict[Name, SizedFamily] = Field(
        min_length=1, description="sweeps by name: their bases, and how those are pruned and quantized"
    )
    size: str = Field(
        "parameters", min_length=1, description="what sizes are told by: parameters, or a setting of the model"
    )
    stable_std: float = Field(1.0, gt=0, description="largest standard deviation of a stable size, percentage points")
    within: float = Field(
        5.0, gt=0, description="how far below the best mean a stable size's mean may lie, percentage points"
    )
    overfit_drop: float = Field(
        0.5, ge=0, description="fall of the mean below its running maximum that is over-fitting, percentage points"
    )
    pruning_loss: float = Field(
        1.0, gt=0, description="loss of mean accuracy up to which pruning is safe, percentage points"
    )
    pruned_at: Literal["best", "minimal"] = Field(
        "best", description="the size that a family's safe pruning is told of: best stable or minimal stable"
    )
    split_at: tuple[Annotated[float, Field(gt=0)], ...] = Field(
        (1000.0,), description="parameters at which deviations above and below are compared"
    )


@final
class Regimes(FamilyAnalyser):
    """Regimes of convergence, minimal stable size, safe pruning and 8-bit gap of families of networks."""

    name = "regimes"
    Settings = RegimesSettings

    def analyse(self, results: Results) -> Findings:
        """Regimes, tables, figures and quantities; see the card."""
        from .summary import findings

        return findings(results, self.settings)


@hookimpl
def register_methods() -> list[type]:
    """The methods of this plugin."""
    return [Regimes]
