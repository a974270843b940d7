"""Magnitude pruning while that is harmless, SER from there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal, final

from pydantic import Field

from prunery import Measured, hookimpl
from prunery.restoring import Restorer, RestoringSettings
from prunery.sparsity import included, keep_highest

if TYPE_CHECKING:
    from collections.abc import Mapping

    import torch
    from torch import Tensor

Share = Annotated[float, Field(ge=0, lt=1)]


class HybridSettings(RestoringSettings):
    """Settings of SER, and of when it takes over."""

    switch: Share | Literal["drop"] = Field(
        0.2, description="highest sparsity that is reached by magnitude (0 to below 1), or drop: see the setting drop"
    )
    drop: float = Field(
        0.7, ge=0, description="points (0 to 100) of validation accuracy below the reference from which SER takes over"
    )
    reference: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="sparsity whose accuracy is the reference of drop: that of the first trained network at least so "
        "sparse; 0 = the dense one",
    )
    evaluation: str = Field("standard", description="variant of evaluate that switch drop reads")


@final
class Hybrid(Restorer):
    """Exact global magnitude up to the switch, SER beyond it."""

    name = "hybrid"
    Settings = HybridSettings

    def needs(self) -> tuple[str, ...]:
        """What SER reads, once it may be its turn; the evaluations on the way, if those decide."""
        if self.settings.switch == "drop":
            return (*self.settings.reads, f"history:evaluate={self.settings.evaluation}")
        return () if self.settings.sparsity <= self.settings.switch else self.settings.reads

    def trial(self, weights: Mapping[str, Tensor], measured: Measured, generator: torch.Generator) -> dict[str, Tensor]:
        """Nothing is on trial up to the switch; see `Selector.trial`."""
        return {} if self._by_magnitude(measured) else super().trial(weights, measured, generator)

    def select(
        self,
        before: Mapping[str, Tensor],
        after: Mapping[str, Tensor],
        trial: Mapping[str, Tensor],
        measured: Measured,
        generator: torch.Generator,
    ) -> dict[str, Tensor]:
        """The largest magnitudes up to the switch; see `Selector.select`."""
        if trial:
            return super().select(before, after, trial, measured, generator)
        keys = included(before, self.settings.exclude)
        return keep_highest({key: before[key].abs() for key in keys}, self.settings.sparsity)

    def _by_magnitude(self, measured: Measured) -> bool:
        from .core import has_dropped

        settings = self.settings
        if settings.switch == "drop":
            return not has_dropped(measured[settings.evaluation], settings.drop, settings.reference)
        return bool(settings.sparsity <= settings.switch)


@hookimpl
def register_methods() -> list[type]:
    """The methods of this plugin."""
    return [Hybrid]
