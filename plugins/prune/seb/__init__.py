"""Spectral edge budgeting: layers whose noise reaches further give up more weights."""

from __future__ import annotations

from typing import TYPE_CHECKING, final

from prunery import Measured, Pruner, hookimpl
from prunery.budgeting import BudgetSettings, budget
from prunery.sparsity import keep_highest

if TYPE_CHECKING:
    from collections.abc import Mapping

    import torch
    from torch import Tensor


@final
class SpectralEdgeBudgeting(Pruner):
    """Global magnitude pruning with each layer's scores divided by a spectral weight."""

    name = "seb"
    Settings = BudgetSettings

    def needs(self) -> tuple[str, ...]:
        """The spectral fit of every layer, and gradients for the guard that asks for them."""
        return self.settings.reads

    def masks(self, weights: Mapping[str, Tensor], measured: Measured, generator: torch.Generator) -> dict[str, Tensor]:
        """|w| over the layer's spectral weight decides; see `Pruner.masks`."""
        scale = budget(weights, measured, self.settings)
        return keep_highest({key: weights[key].abs() / scale[key] for key in scale}, self.settings.sparsity)


@hookimpl
def register_methods() -> list[type]:
    """The methods of this plugin."""
    return [SpectralEdgeBudgeting]
