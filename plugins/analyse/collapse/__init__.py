"""How sparse a network may become before it answers by chance."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, final

from pydantic import Field

from prunery import hookimpl
from prunery.families import Family, FamilyAnalyser, Name, ResampledSettings, Strict

if TYPE_CHECKING:
    from prunery.findings import Findings
    from prunery.reporting.results import Results


class Paper(Strict):
    """What a paper gives: the ratio of the collapse, the share of the parameters gone there, accuracy there (%)."""

    collapse: float | None = None
    removed: float | None = None
    accuracy: float | None = None


class PrunedFamily(Family):
    """One base at rising ratios."""

    prune: str = Field(min_length=1)
    paper: Paper = Paper()

    def recipes(self) -> list[str]:
        """The dense network and the pruned ones."""
        return self.spelled(("", self.prune))


class CollapseSettings(ResampledSettings):
    """The families, and what a collapse is."""

    families: dict[Name, PrunedFamily] = Field(
        min_length=1, description="curves by name: a base, and the recipes that prune it, with the ratios behind @"
    )
    definition: Literal["chance", "drop"] = Field(
        "chance", description="the collapse: first ratio near chance, or the ratio behind the largest drop"
    )
    margin: float = Field(
        5.0, ge=0, lt=100, description="how far above chance an accuracy may lie to be near it, percentage points"
    )
    chance: float | None = Field(
        None, ge=0, lt=100, description="accuracy of guessing, %; null: 100 over the number of classes"
    )


@final
class Collapse(FamilyAnalyser):
    """Accuracy against sparsity, and where it collapses."""

    name = "collapse"
    Settings = CollapseSettings

    def analyse(self, results: Results) -> Findings:
        """Curves, collapse points and quantities; see the card."""
        from .summary import findings

        return findings(results, self.settings)


@hookimpl
def register_methods() -> list[type]:
    """The methods of this plugin."""
    return [Collapse]
