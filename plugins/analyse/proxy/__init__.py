"""How well the operator-norm proxy and the budget foretell what pruning costs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self, final

from pydantic import Field, model_validator

from prunery import hookimpl
from prunery.families import Family, FamilyAnalyser, Name, ResampledSettings, Texts

if TYPE_CHECKING:
    from prunery.findings import Findings
    from prunery.reporting.results import Results

POOLED = "pooled"
"""What quantities over all families begin with."""


class AuditedFamily(Family):
    """One base, and the recipes that prune it."""

    steps: Texts

    def recipes(self) -> list[str]:
        """The dense network and the pruned ones."""
        return self.spelled(("", *self.steps))


class ProxySettings(ResampledSettings):
    """The families, and where certificates and spectra are read."""

    families: dict[Name, AuditedFamily] = Field(
        min_length=1, description="architectures by name: a base, and the recipes that prune it"
    )
    certificate: str = Field(
        "certificate", min_length=1, description="variant of evaluate that tells proxies and budgets"
    )
    fit: str | None = Field(
        None,
        min_length=1,
        description="variant of spectral_fit of the dense networks, to correlate layers' edges with their proxies",
    )

    @model_validator(mode="after")
    def _free_name(self) -> Self:
        if POOLED in self.families:
            raise ValueError(f"families.{POOLED}: the name stands for all families together: choose another")
        return self


@final
class Proxy(FamilyAnalyser):
    """Correlations of proxy and budget with the measured losses, and budgets that were exceeded."""

    name = "proxy"
    Settings = ProxySettings

    def measures(self) -> tuple[str, ...]:
        """The certificates of every recipe, and the spectra of the dense networks if they are asked for."""
        chosen, families = self.settings, self.settings.families.values()
        found = [f"{recipe}/evaluate={chosen.certificate}" for family in families for recipe in family.recipes()]
        if chosen.fit:
            found += [f"{base}/spectral_fit={chosen.fit}" for family in families for base in family.bases]
        return tuple(dict.fromkeys(found))

    def analyse(self, results: Results) -> Findings:
        """Tables, figures and quantities; see the card."""
        from .summary import findings

        return findings(results, self.settings)


@hookimpl
def register_methods() -> list[type]:
    """The methods of this plugin."""
    return [Proxy]
