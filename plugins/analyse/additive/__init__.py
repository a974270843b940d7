"""What becomes of noise and spikes of a weight's spectrum while a network trains."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Self, final

from pydantic import Field, model_validator

from prunery import hookimpl
from prunery.families import BootstrapSettings, Family, FamilyAnalyser, Name, Texts
from prunery.recipe import expand

if TYPE_CHECKING:
    from prunery.findings import Findings
    from prunery.reporting.results import Results


class TrainedFamily(Family):
    """One base, and a recipe whose every network's spectrum was fitted."""

    recipe: str = Field(min_length=1)
    layers: Texts = ("*",)

    @model_validator(mode="after")
    def _one_recipe(self) -> Self:
        if len(found := expand(self.recipe)) != 1:
            raise ValueError(f"recipe {self.recipe!r} stands for {len(found)} recipes: make a family of each")
        return self

    @property
    def on_the_way(self) -> list[str]:
        """The steps behind the base, for the dense network and every one on the way; the whole recipe last."""
        steps = expand(self.recipe)[0].strip("/").split("/")
        return ["/".join(steps[:count]) for count in range(len(steps) + 1)]

    def recipes(self) -> list[str]:
        """Every network on the way."""
        return self.spelled(self.on_the_way)


class AdditiveSettings(BootstrapSettings):
    """The families, and what is followed in their spectra."""

    families: dict[Name, TrainedFamily] = Field(
        min_length=1, description="ways by name: a base, and the recipe that trains it, step by step"
    )
    fit: str = Field("mp", min_length=1, description="variant of spectral_fit that the spectra are read from")
    spikes: int = Field(3, ge=1, le=20, description="largest singular values that are followed")
    edge: Literal["sigma_edge", "sigma_plus"] = Field(
        "sigma_edge", description="end of the bulk: that of the fitted law, or with its Tracy-Widom term"
    )


@final
class Additive(FamilyAnalyser):
    """The edge of the bulk and the largest singular values, step by step."""

    name = "additive"
    Settings = AdditiveSettings

    def measures(self) -> tuple[str, ...]:
        """The spectra of every network on the way."""
        return tuple(f"{recipe}/spectral_fit={self.settings.fit}" for recipe in self.recipes())

    def analyse(self, results: Results) -> Findings:
        """Curves and quantities; see the card."""
        from .summary import findings

        return findings(results, self.settings)


@hookimpl
def register_methods() -> list[type]:
    """The methods of this plugin."""
    return [Additive]
