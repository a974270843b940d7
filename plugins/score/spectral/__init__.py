"""How much of a channel lies in the layer's leading singular directions."""

from __future__ import annotations

from typing import TYPE_CHECKING, final

from pydantic import Field

from prunery import Layer, Score, Settings, hookimpl

if TYPE_CHECKING:
    import torch
    from torch import Tensor


class SpectralSettings(Settings):
    """How many directions lead."""

    energy: float = Field(
        0.9, gt=0, le=1, description="share of the squared singular values that the leading directions hold, 0 to 1"
    )


@final
class Spectral(Score):
    """Norm of a channel's weights after projection on the leading singular directions."""

    name = "spectral"
    Settings = SpectralSettings

    def score(self, layer: Layer, generator: torch.Generator) -> Tensor:
        """The norm of each channel's projection."""
        from .core import projected_norms

        return projected_norms(layer.weight, self.settings.energy)


@hookimpl
def register_methods() -> list[type]:
    """The methods of this plugin."""
    return [Spectral]
