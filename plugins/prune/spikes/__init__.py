"""Only the singular values above the noise stay: a control."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, final

from pydantic import Field

from prunery import Measured, Projection, Projector, Settings, hookimpl
from prunery.sparsity import included

if TYPE_CHECKING:
    from collections.abc import Mapping

    import torch
    from torch import Tensor


class SpikesSettings(Settings):
    """Settings of the truncation."""

    threshold: Literal["sigma_plus", "spike_edge", "gavish_donoho"] = Field(
        "sigma_plus",
        description="singular values up to it go: the fitted edge, the stricter one that spikes are counted above, or "
        "the optimal hard threshold for noise of unknown strength, which reads no fit",
    )
    keep: int = Field(1, ge=0, description="singular values that stay in every layer, however small")
    fit: str = Field("mp", description="variant of spectral_fit to read the edges from")
    exclude: tuple[str, ...] = Field((), description="patterns (as in a shell) of keys that are left alone")


@final
class Spikes(Projector):
    """Each weight less its singular values up to a threshold."""

    name = "spikes"
    Settings = SpikesSettings
    imports = ("torch",)

    def needs(self) -> tuple[str, ...]:
        """The spectral fit, unless the threshold does without."""
        return () if self.settings.threshold == "gavish_donoho" else (f"spectral_fit={self.settings.fit}",)

    def project(
        self,
        weights: Mapping[str, Tensor],
        dense: Mapping[str, Tensor],
        measured: Measured,
        generator: torch.Generator,
    ) -> dict[str, Projection]:
        """Weights without their bulk; those without a fit as they are."""
        from .core import only_spikes

        chosen = self.settings
        rows = measured.get(chosen.fit, {})
        edges = {key: rows.get(key, {}).get(chosen.threshold) for key in included(weights, chosen.exclude)}
        if chosen.threshold == "gavish_donoho":
            return {key: Projection(only_spikes(weights[key], None, chosen.keep)) for key in edges}
        return {
            key: Projection(weights[key] if edge is None else only_spikes(weights[key], edge, chosen.keep))
            for key, edge in edges.items()
        }


@hookimpl
def register_methods() -> list[type]:
    """The methods of this plugin."""
    return [Spikes]
