"""How much the shape of a network matters beside its size."""

from __future__ import annotations

from typing import TYPE_CHECKING, final

from pydantic import Field

from prunery import hookimpl
from prunery.families import Family, FamilyAnalyser, Name, SplitSettings

if TYPE_CHECKING:
    from prunery.findings import Findings
    from prunery.reporting.results import Results


class ShapedFamily(Family):
    """Bases by name or pattern, and what is done to each (nothing: the dense networks)."""

    recipe: str = ""

    def recipes(self) -> list[str]:
        """What is evaluated, in short spellings."""
        return self.spelled((self.recipe,))


class ShapesSettings(SplitSettings):
    """The families, what their members have in common, and what tells their shapes apart."""

    families: dict[Name, ShapedFamily] = Field(
        min_length=1, description="networks by family: their bases, and the recipe that is compared"
    )
    groups: tuple[str, ...] = Field(
        ("depth", "width"), min_length=1, description="settings of the model that members of a group share"
    )
    shape: str = Field("shape", min_length=1, description="setting of the model in which members of a group differ")
    minimal_parameters: float = Field(
        1e6, ge=0, description="parameters that every member of a group has if its spread is to count"
    )


@final
class Shapes(FamilyAnalyser):
    """Spread of mean accuracy over the shapes of networks of one depth and width."""

    name = "shapes"
    Settings = ShapesSettings

    def analyse(self, results: Results) -> Findings:
        """Spreads, tables, figures and quantities; see the card."""
        from .summary import findings

        return findings(results, self.settings)


@hookimpl
def register_methods() -> list[type]:
    """The methods of this plugin."""
    return [Shapes]
