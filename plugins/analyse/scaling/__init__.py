"""How accuracy grows with the bits that a network is stored in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, final

from pydantic import Field

from prunery import hookimpl
from prunery.families import Family, FamilyAnalyser, Name, ResampledSettings, Texts

if TYPE_CHECKING:
    from prunery.findings import Findings
    from prunery.reporting.results import Results


class StoredFamily(Family):
    """One base in several formats. `paper` are (bits per parameter, accuracy in percent)."""

    steps: Texts
    paper: tuple[tuple[float, float], ...] = ()

    def recipes(self) -> list[str]:
        """The dense network, whose parameters bits are divided by, and the stored ones."""
        return self.spelled(("", *self.steps))


class ScalingSettings(ResampledSettings):
    """The families, and what size is."""

    families: dict[Name, StoredFamily] = Field(
        min_length=1, description="curves by name: a base, and the recipes that store it in ever fewer bits"
    )
    size: Literal["bits_per_parameter", "bits"] = Field(
        "bits_per_parameter",
        description="bits as stored over the dense network's parameters, or bits as stored",
    )


@final
class Scaling(FamilyAnalyser):
    """Laws of accuracy over bits: logarithmic, and a power law that saturates."""

    name = "scaling"
    Settings = ScalingSettings

    def analyse(self, results: Results) -> Findings:
        """Curves, fitted laws and quantities; see the card."""
        from .summary import findings

        return findings(results, self.settings)


@hookimpl
def register_methods() -> list[type]:
    """The methods of this plugin."""
    return [Scaling]
