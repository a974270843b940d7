"""A linear layer of low rank becomes two smaller ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, final

from pydantic import Field

from prunery import Measured, PruneryError, Rewirer, Settings, hookimpl
from prunery.sparsity import included

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from prunery.edits import Edit


class FactorizeSettings(Settings):
    """Settings of the factors."""

    rank: Literal["numerical", "sigma_plus", "spike_edge", "energy"] = Field(
        "numerical",
        description="singular values that stay: all that are not zero, those above a fitted edge, or the largest that "
        "hold a share of the sum of squares",
    )
    tolerance: float = Field(
        1e-5, gt=0, lt=1, description="numerical: values up to so many times the largest count as zero"
    )
    energy: float = Field(
        0.99, gt=0, le=1, description="energy: share of the sum of squared singular values that stays"
    )
    fit: str = Field("mp", description="sigma_plus and spike_edge: variant of spectral_fit to read them from")
    exclude: tuple[str, ...] = Field((), description="patterns (as in a shell) of keys that stay as they are")


@final
class Factorize(Rewirer):
    """`Linear` layers as products of two, wherever that saves parameters."""

    name = "factorize"
    Settings = FactorizeSettings
    changes = ("graph", "parameters")
    imports = ("torch",)

    @property
    def _edge(self) -> bool:
        return self.settings.rank in ("sigma_plus", "spike_edge")

    def needs(self) -> tuple[str, ...]:
        """The spectral fit, if the rank is read from it."""
        return (f"spectral_fit={self.settings.fit}",) if self._edge else ()

    def edits(self, network: nn.Module, example: Tensor, measured: Measured, generator: torch.Generator) -> list[Edit]:
        """One edit for all layers; raises `PruneryError` if no layer gains."""
        from prunery.factors import factorable, factors_edit

        from .core import rank_of, saves

        chosen, weights = self.settings, factorable(network, example)
        if not weights:
            raise PruneryError("no layer can become two factors: it takes Linear layers without weights held at zero")
        rows = measured.get(chosen.fit, {})
        ranks = {}
        for key in included(weights, chosen.exclude):
            edge = rows.get(key, {}).get(chosen.rank) if self._edge else None
            if edge is not None or not self._edge:
                ranks[key] = rank_of(weights[key], chosen, edge)
        found = {key: rank for key, rank in ranks.items() if saves(rank, *weights[key].shape)}
        if not found:
            raise PruneryError(
                "no layer's rank is low enough for two factors to save parameters: remove singular values first "
                "(prune=subedge, prune=spikes), or let factors hold less (rank: energy)"
            )
        return [factors_edit(found)]


@hookimpl
def register_methods() -> list[type]:
    """The methods of this plugin."""
    return [Factorize]
