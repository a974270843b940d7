"""Second moments of what goes into each compressible layer: every pair of inputs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Literal, final

from pydantic import Field

from prunery import CalibrationSettings, Calibrator, hookimpl

if TYPE_CHECKING:
    from jaxtyping import Int
    from torch import Tensor, nn


class MomentSettings(CalibrationSettings):
    """Which data, and which pairs."""

    layout: Literal["channels", "im2col"] = Field(
        "channels",
        description="pairs of a convolution: channels at one kernel position, or all entries of the flattened kernel",
    )
    widest: int = Field(
        8192, ge=1, description="layers whose matrices have more columns than that are left out: memory is its square"
    )


@final
class Moments(Calibrator):
    """Uncentred second moments of all pairs of inputs, by forward hooks, summed batch by batch."""

    name = "moments"
    Settings = MomentSettings
    imports = ("torch",)
    versions = ("torch",)

    def measure(
        self, network: nn.Module, batches: Iterable[tuple[Tensor, Int[Tensor, " batch"]]]
    ) -> dict[str, dict[str, Tensor]]:
        """Statistics by key, which the card lists; a layer that no batch runs through has no entry."""
        from .core import input_moments

        return input_moments(network, batches, self.settings)


@hookimpl
def register_methods() -> list[type]:
    """Register the method."""
    return [Moments]
