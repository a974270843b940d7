"""Prune weights at random: the baseline every score has to beat."""

from __future__ import annotations

from typing import TYPE_CHECKING, final

from prunery import Measured, Pruner, hookimpl
from prunery.sparsity import SparsitySettings, masks_by_score

if TYPE_CHECKING:
    from collections.abc import Mapping

    import torch
    from torch import Tensor


@final
class Random(Pruner):
    """Keep a uniformly random choice of the weights."""

    name = "random"
    Settings = SparsitySettings

    def needs(self) -> tuple[str, ...]:
        """The layers' sensitivities, if those decide how much each loses."""
        return self.settings.reads

    def masks(self, weights: Mapping[str, Tensor], measured: Measured, generator: torch.Generator) -> dict[str, Tensor]:
        """Chance decides; see `Pruner.masks`."""
        from .core import random_scores

        return masks_by_score(random_scores(weights, generator), self.settings, measured)


@hookimpl
def register_methods() -> list[type]:
    """The methods of this plugin."""
    return [Random]
