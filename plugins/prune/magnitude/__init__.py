"""Prune the weights of smallest magnitude."""

from __future__ import annotations

from typing import TYPE_CHECKING, final

from prunery import Measured, Pruner, hookimpl
from prunery.sparsity import SparsitySettings, masks_by_score

if TYPE_CHECKING:
    from collections.abc import Mapping

    import torch
    from torch import Tensor


@final
class Magnitude(Pruner):
    """Keep the weights of largest absolute value."""

    name = "magnitude"
    Settings = SparsitySettings

    def needs(self) -> tuple[str, ...]:
        """The layers' sensitivities, if those decide how much each loses."""
        return self.settings.reads

    def masks(self, weights: Mapping[str, Tensor], measured: Measured, generator: torch.Generator) -> dict[str, Tensor]:
        """|w| decides; see `Pruner.masks`."""
        from .core import magnitude_scores

        return masks_by_score(magnitude_scores(weights), self.settings, measured)


@hookimpl
def register_methods() -> list[type]:
    """The methods of this plugin."""
    return [Magnitude]
