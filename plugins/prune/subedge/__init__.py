"""A share of the singular values below the noise's edge goes."""

from __future__ import annotations

from typing import TYPE_CHECKING, final

from pydantic import Field

from prunery import Measured, Projection, Projector, Settings, hookimpl
from prunery.sparsity import included

if TYPE_CHECKING:
    from collections.abc import Mapping

    import torch
    from torch import Tensor


class SubedgeSettings(Settings):
    """Settings of the removal."""

    amount = "share"
    share: float = Field(0.5, gt=0, le=1, description="share of each layer's singular values up to sigma_plus that go")
    fit: str = Field("mp", description="variant of spectral_fit to read sigma_plus from")
    exclude: tuple[str, ...] = Field((), description="patterns (as in a shell) of keys that are left alone")


@final
class Subedge(Projector):
    """Each weight less the smallest of its singular values up to the bulk's edge."""

    name = "subedge"
    Settings = SubedgeSettings
    imports = ("torch",)

    def needs(self) -> tuple[str, ...]:
        """The spectral fit of every layer."""
        return (f"spectral_fit={self.settings.fit}",)

    def project(
        self,
        weights: Mapping[str, Tensor],
        dense: Mapping[str, Tensor],
        measured: Measured,
        generator: torch.Generator,
    ) -> dict[str, Projection]:
        """Weights of lower rank; those without a fit as they are."""
        from .core import lowered

        rows, chosen = measured[self.settings.fit], included(weights, self.settings.exclude)
        edges = {key: rows.get(key, {}).get("sigma_plus") for key in chosen}
        return {
            key: Projection(weights[key] if edge is None else lowered(weights[key], edge, self.settings.share))
            for key, edge in edges.items()
        }


@hookimpl
def register_methods() -> list[type]:
    """The methods of this plugin."""
    return [Subedge]
