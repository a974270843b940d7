"""Classical pruning by random matrix theory: noise is taken out of singular vectors, then out of the weights."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, final

from pydantic import Field

from prunery import Measured, Projection, Projector, Settings, hookimpl
from prunery.sparsity import included

if TYPE_CHECKING:
    from collections.abc import Mapping

    import torch
    from torch import Tensor


class RmtSettings(Settings):
    """Settings of one cycle."""

    amount = "sparsity"
    sparsity: float | None = Field(
        None, ge=0, lt=1, description="share of all weights that end as zero; null: what the cycle's formula takes"
    )
    cycle: int | None = Field(
        None, ge=1, description="number of this cycle, from 1; null: sparsity / step, or 1 without a sparsity"
    )
    step: float = Field(0.05, gt=0, le=1, description="sparsity that one cycle adds, where cycle is none")
    reduction: float = Field(0.06, gt=0, le=1, description="rho of cycle 0, a share of the weights left")
    growth: float = Field(1.02, gt=0, description="factor by which rho grows from cycle to cycle")
    every: int = Field(2, ge=0, description="singular vectors are made sparse in cycles it divides; 0: in none")
    theta: float = Field(1.125e-5, ge=0, description="threshold of vector entries, times rho * rows * columns")
    power: float = Field(30.0, gt=0, description="exponent of (1 - s / sigma_plus) in the threshold of a vector")
    least: float = Field(1 / 750, ge=0, description="least threshold, which spikes have too, in units of the largest")
    exponent: float = Field(1.5, gt=0, description="exponent of a layer's score, divided by the cycle")
    missing: Literal["mean", "zero"] = Field(
        "mean", description="a layer without a fit has the others' mean score, or loses no weight"
    )
    fit: str = Field("mp", description="variant of spectral_fit to read")
    exclude: tuple[str, ...] = Field((), description="patterns (as in a shell) of keys that stay dense and uncounted")

    @property
    def number(self) -> int:
        """The cycle's number."""
        if self.cycle is not None:
            return self.cycle
        return 1 if self.sparsity is None else max(1, round(self.sparsity / self.step))

    @property
    def rho(self) -> float:
        """The reduction of this cycle."""
        return self.reduction * self.growth**self.number


@final
class Rmt(Projector):
    """Sparse singular vectors in every other cycle, then the smallest magnitudes of each layer by its spectrum."""

    name = "rmt"
    Settings = RmtSettings
    imports = ("torch",)

    def needs(self) -> tuple[str, ...]:
        """The spectral fit of every layer."""
        return (f"spectral_fit={self.settings.fit}",)

    def project(
        self,
        weights: Mapping[str, Tensor],
        dense: Mapping[str, Tensor],
        measured: Measured,
        generator: torch.Generator,
    ) -> dict[str, Projection]:
        """New values and masks of every layer; see the card."""
        from .core import removals, scores, smallest_masked, sparse_vectors

        chosen, keys = self.settings, included(weights, self.settings.exclude)
        fits = {key: measured[chosen.fit].get(key, {}) for key in keys}
        values = {key: sparse_vectors(weights[key], fits[key], chosen) for key in keys}
        alive = {key: (weights[key] != 0) & (values[key] != 0) for key in keys}
        counts = removals(alive, scores(fits, chosen.exponent / chosen.number, chosen.missing), chosen)
        masks = {key: smallest_masked(values[key], alive[key], counts[key]) for key in keys}
        return {key: Projection(values[key] * masks[key], masks[key]) for key in keys}


@hookimpl
def register_methods() -> list[type]:
    """The methods of this plugin."""
    return [Rmt]
