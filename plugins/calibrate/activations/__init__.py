"""Streaming statistics of what goes into and comes out of each compressible layer."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, final

from pydantic import Field

from prunery import CalibrationSettings, Calibrator, hookimpl

if TYPE_CHECKING:
    from jaxtyping import Int
    from torch import Tensor, nn


class ActivationSettings(CalibrationSettings):
    """Which data, and how finely it is counted."""

    group: int = Field(4, ge=1, le=64, description="consecutive inputs that share a second-moment matrix")
    bins: int = Field(2048, ge=64, le=65536, multiple_of=2, description="bins of each histogram")
    quantiles: tuple[Annotated[float, Field(ge=0, le=1)], ...] = Field(
        (0.001, 0.01, 0.5, 0.99, 0.999), description="shares at which quantiles are stored"
    )


@final
class Activations(Calibrator):
    """Moments, range, histogram and quantiles of activations, by forward hooks, in memory bounded by the batch."""

    name = "activations"
    Settings = ActivationSettings
    imports = ("torch",)
    versions = ("torch",)

    def measure(
        self, network: nn.Module, batches: Iterable[tuple[Tensor, Int[Tensor, " batch"]]]
    ) -> dict[str, dict[str, Tensor]]:
        """Statistics by key; the card lists them. A layer that no batch runs through has no entry."""
        from .core import activation_statistics

        return activation_statistics(network, batches, self.settings)


@hookimpl
def register_methods() -> list[type]:
    """Register the method."""
    return [Activations]
