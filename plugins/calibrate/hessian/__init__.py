"""The trace of the loss's Hessian in each layer's weight."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, final

from pydantic import Field

from prunery import CalibrationSettings, Calibrator, hookimpl

if TYPE_CHECKING:
    from jaxtyping import Int
    from torch import Tensor, nn


class HessianSettings(CalibrationSettings):
    """Which data, and how many random vectors."""

    probes: int = Field(16, ge=2, description="random sign vectors; the standard error falls with their square root")


@final
class Hessian(Calibrator):
    """Hutchinson's estimate of the trace of every layer's diagonal block of the Hessian."""

    name = "hessian"
    Settings = HessianSettings
    imports = ("torch",)
    versions = ("torch",)

    def measure(
        self, network: nn.Module, batches: Iterable[tuple[Tensor, Int[Tensor, " batch"]]]
    ) -> dict[str, dict[str, Tensor]]:
        """`trace`, its standard error `trace_error`, and `trace_per_weight`: scalars by key."""
        from .core import hessian_traces

        return hessian_traces(network, batches, self.settings.probes, self.settings.seed)


@hookimpl
def register_methods() -> list[type]:
    """Register the method."""
    return [Hessian]
