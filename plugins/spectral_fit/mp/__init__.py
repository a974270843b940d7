"""The Marchenko-Pastur law fitted to each weight's singular values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, final

from pydantic import Field

from prunery import Settings, SpectralFitter, hookimpl
from prunery.measuring import Split

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor


class MarchenkoPasturSettings(Settings):
    """How the bulk is fitted, and where it ends."""

    alpha: float = Field(0.25, ge=0, lt=0.5, description="share of the spectrum left out of the fit at each end")
    beta: float = Field(
        0.1,
        gt=1e-6,
        lt=1 - 1e-6,
        description="probability that pure noise exceeds sigma_plus (its 1 - beta Tracy-Widom quantile)",
    )
    spike_level: float = Field(
        1e-3,
        gt=1e-6,
        lt=0.5,
        description="probability that pure noise exceeds the edge above which spikes are counted",
    )
    edge: Literal["tracy_widom", "bare"] = Field(
        "tracy_widom", description="sigma_plus with its Tracy-Widom term, or sigma_hat (sqrt(n) + sqrt(p)) alone"
    )
    exponent: Literal["standard", "coded"] = Field(
        "standard", description="width of the edge: (1 + sqrt(gamma))^(4/3), or ^4 / 3 as in the authors' code"
    )
    ranks: Literal["centred", "coded"] = Field(
        "centred", description="rank i (from 0) of p is the quantile (i + 1/2) / p, or i / p as in the authors' code"
    )
    refits: int = Field(1, ge=0, le=20, description="fits repeated without the spikes the one before found")
    smallest: int = Field(8, ge=4, description="shortest side of a matrix that is fitted")
    accept: float = Field(1.0, gt=0, le=1, description="largest fit error with which a matrix counts as fitted")
    split: Split = Field(
        "whole", description="what of attention has rows beside its whole weights: none, q, k, v, or each head too"
    )


@final
class MarchenkoPastur(SpectralFitter):
    """Bulk edge, noise level, spikes and tail exponent of a weight matrix."""

    name = "mp"
    Settings = MarchenkoPasturSettings
    imports = ("torch", "scipy.linalg", "scipy.optimize", "scipy.special")
    versions = ("numpy", "scipy", "torch")

    @property
    def split(self) -> Split:
        """As the settings say."""
        chosen: Split = self.settings.split
        return chosen

    def fit(self, matrix: Float[Tensor, "rows columns"]) -> dict[str, Any]:
        """One row; see the card."""
        from .core import fit_row

        return fit_row(matrix, self.settings)


@hookimpl
def register_methods() -> list[type]:
    """Register the method."""
    return [MarchenkoPastur]
