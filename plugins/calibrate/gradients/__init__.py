"""First and second moments of the loss's gradient with respect to each weight."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, final

from pydantic import Field

from prunery import CalibrationSettings, Calibrator, hookimpl

if TYPE_CHECKING:
    from jaxtyping import Int
    from torch import Tensor, nn


class GradientSettings(CalibrationSettings):
    """Which data, and whose gradients are squared."""

    per_sample: bool = Field(
        True, description="square each sample's gradient (the Fisher diagonal), or each batch's mean"
    )


@final
class Gradients(Calibrator):
    """Mean absolute gradient and the diagonal of the empirical Fisher information."""

    name = "gradients"
    Settings = GradientSettings
    imports = ("torch",)
    versions = ("torch",)

    def measure(
        self, network: nn.Module, batches: Iterable[tuple[Tensor, Int[Tensor, " batch"]]]
    ) -> dict[str, dict[str, Tensor]]:
        """`gradient_mean_abs` and `fisher`, both of the weight's shape, and sums by channel; the card lists them."""
        from .core import gradient_moments

        return gradient_moments(network, batches, self.settings.per_sample)


@hookimpl
def register_methods() -> list[type]:
    """Register the method."""
    return [Gradients]
