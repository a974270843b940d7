"""Analyses of families: networks that are looked at together, named by the bases they stem from. Imports no torch."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from prunery.measuring import Analyser
from prunery.method import Settings


def _listed(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


Texts = Annotated[tuple[str, ...], BeforeValidator(_listed), Field(min_length=1)]
"""One text or a list of them."""
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")]
"""What quantities are told by, as part of their names."""
Split = Literal["test", "validation"]


class Strict(BaseModel):
    """A part of the settings of an analysis: unknown keys are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Family(Strict):
    """Bases by name or pattern; subclasses say what is done to them."""

    bases: Texts

    @abstractmethod
    def recipes(self) -> list[str]:
        """Everything of the family that is evaluated, in short spellings."""

    def spelled(self, steps: Iterable[str]) -> list[str]:
        """Each of the bases with each of the steps; without steps it is the dense network."""
        return [f"{base}/{step}".rstrip("/") for base in self.bases for step in steps]


class SplitSettings(Settings):
    """Which samples count, and how sure intervals are."""

    split: Split = Field("test", description="samples that accuracies are of")
    confidence: float = Field(0.95, gt=0.5, lt=1, description="level of the intervals")


class BootstrapSettings(Settings):
    """Settings of intervals that come from resampled seeds."""

    confidence: float = Field(0.95, gt=0.5, lt=1, description="level of the intervals")
    resamples: int = Field(2000, ge=100, le=100_000, description="bootstrap resamples")
    seed: int = Field(0, ge=0, description="seed of the bootstrap")


class ResampledSettings(SplitSettings, BootstrapSettings):
    """Settings of analyses of accuracies whose intervals come from resampled seeds."""


class FamilyAnalyser(Analyser):
    """An analysis whose settings hold `families`, by name."""

    imports = ("pandas", "scipy.stats")
    versions = ("numpy", "scipy")

    def recipes(self) -> tuple[str, ...]:
        """Everything that the families evaluate."""
        return tuple(text for family in self.settings.families.values() for text in family.recipes())


def absent_notes(names: Iterable[str]) -> list[str]:
    """What a reader should know of families of which nothing was evaluated: their optional data are not here, say."""
    left_out = ", ".join(names)
    return [f"Left out, since none of their networks was evaluated: {left_out}."] if left_out else []
