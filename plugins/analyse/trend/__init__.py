"""Whether larger networks lose less when they are pruned."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, final

from pydantic import Field

from prunery import hookimpl
from prunery.families import Family, FamilyAnalyser, Name, ResampledSettings

if TYPE_CHECKING:
    from prunery.findings import Findings
    from prunery.reporting.results import Results


class SizedFamily(Family):
    """Bases of one kind and several sizes, all pruned in the same way."""

    prune: str = Field(min_length=1)

    def recipes(self) -> list[str]:
        """The dense networks and the pruned ones."""
        return self.spelled(("", self.prune))


class TrendSettings(ResampledSettings):
    """The families, and what size is."""

    families: dict[Name, SizedFamily] = Field(
        min_length=1, description="by name: bases of several sizes, and the recipes that prune them, with the ratios"
    )
    size: Literal["parameters", "macs"] = Field(
        "parameters", description="size of a dense network: its parameters, or multiply-accumulates of one sample"
    )


@final
class Trend(FamilyAnalyser):
    """Loss of accuracy against the logarithm of size, ratio by ratio."""

    name = "trend"
    Settings = TrendSettings

    def analyse(self, results: Results) -> Findings:
        """Slopes, their growth with the ratio, and quantities; see the card."""
        from .summary import findings

        return findings(results, self.settings)


@hookimpl
def register_methods() -> list[type]:
    """The methods of this plugin."""
    return [Trend]
