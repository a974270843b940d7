"""Sparsify the singular vectors that lie in the noise bulk."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, final

from pydantic import Field

from prunery import Measured, Projection, Projector, PruneryError, Settings, hookimpl
from prunery.sparsity import included

if TYPE_CHECKING:
    from collections.abc import Mapping

    import torch
    from torch import Tensor


class HaarSettings(Settings):
    """How much of the bulk's singular vectors is cut off."""

    amount = "strength"
    strength: float = Field(
        0.5, gt=0, description="threshold of an entry, in units of the typical entry of a random singular vector"
    )
    power: float = Field(3.0, gt=0, description="exponent of the distance from the edge, (1 - s / sigma_plus)")
    hill: bool = Field(
        True, description="multiply the threshold by the layer's Hill exponent over the mean of all layers"
    )
    fit: str = Field("mp", description="variant of spectral_fit to read sigma_plus and hill from")
    spectra: Literal["parent", "dense"] = Field(
        "parent", description="whose spectra: the present network's, or the dense one's the recipe started from"
    )
    exclude: tuple[str, ...] = Field((), description="patterns (as in a shell) of keys that stay as they are")


@final
class Haar(Projector):
    """Weights whose bulk singular vectors have lost their small entries."""

    name = "haar"
    Settings = HaarSettings
    imports = ("torch",)
    versions = ("torch",)

    def needs(self) -> tuple[str, ...]:
        """The edge and the Hill exponent of every layer."""
        whose = "dense:" if self.settings.spectra == "dense" else ""
        return (f"{whose}spectral_fit={self.settings.fit}",)

    def project(
        self,
        weights: Mapping[str, Tensor],
        dense: Mapping[str, Tensor],
        measured: Measured,
        generator: torch.Generator,
    ) -> dict[str, Projection]:
        """Recomposed weights of the layers with a fitted edge; zeros stay zero. See `Projector.project`."""
        from .core import sparsified

        settings, rows = self.settings, measured[self.settings.fit]
        keys = [key for key in included(weights, settings.exclude) if "sigma_plus" in rows.get(key, {})]
        if not keys:
            raise PruneryError(
                f"prune method 'haar': spectral_fit={settings.fit} found no bulk in any layer: choose a larger network"
            )
        mean = sum(rows[key]["hill"] for key in keys) / len(keys)
        found = {}
        for key in keys:
            strength = settings.strength * (rows[key]["hill"] / mean if settings.hill else 1.0)
            found[key] = Projection(sparsified(weights[key], rows[key]["sigma_plus"], strength, settings.power))
        return found


@hookimpl
def register_methods() -> list[type]:
    """The methods of this plugin."""
    return [Haar]
