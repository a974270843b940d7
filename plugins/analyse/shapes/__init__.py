"""How much the shape of a network matters beside its size."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal, final

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from prunery import Analyser, Settings, hookimpl

if TYPE_CHECKING:
    from prunery.findings import Findings
    from prunery.reporting.results import Results

NAME = r"^[A-Za-z0-9][A-Za-z0-9_.-]*$"


def _listed(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


class Family(BaseModel):
    """Bases by name or pattern, and what is done to each (nothing: the dense networks)."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    bases: Annotated[tuple[str, ...], BeforeValidator(_listed), Field(min_length=1)]
    recipe: str = ""

    def recipes(self) -> list[str]:
        """What is evaluated, in short spellings."""
        return [f"{base}/{self.recipe}".rstrip("/") for base in self.bases]


class ShapesSettings(Settings):
    """The families, what their members have in common, and what tells their shapes apart."""

    families: dict[Annotated[str, Field(pattern=NAME)], Family] = Field(
        min_length=1, description="networks by family: their bases, and the recipe that is compared"
    )
    groups: tuple[str, ...] = Field(
        ("depth", "width"), min_length=1, description="settings of the model that members of a group share"
    )
    shape: str = Field("shape", min_length=1, description="setting of the model in which members of a group differ")
    minimal_parameters: float = Field(
        1e6, ge=0, description="parameters that every member of a group has if its spread is to count"
    )
    split: Literal["test", "validation"] = Field("test", description="samples that accuracies are of")
    confidence: float = Field(0.95, gt=0.5, lt=1, description="level of the intervals")


@final
class Shapes(Analyser):
    """Spread of mean accuracy over the shapes of networks of one depth and width."""

    name = "shapes"
    Settings = ShapesSettings
    imports = ("pandas", "scipy.stats")
    versions = ("numpy", "scipy")

    def recipes(self) -> tuple[str, ...]:
        """One for every network that is compared."""
        return tuple(text for family in self.settings.families.values() for text in family.recipes())

    def analyse(self, results: Results) -> Findings:
        """Spreads, tables, figures and quantities; see the card."""
        from .summary import findings

        return findings(results, self.settings)


@hookimpl
def register_methods() -> list[type]:
    """The methods of this plugin."""
    return [Shapes]
