"""Spectral edge budgeting: layers whose noise reaches further give up more weights."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, final

from pydantic import Field

from prunery import Measured, Pruner, Settings, hookimpl
from prunery.sparsity import included, keep_highest

if TYPE_CHECKING:
    from collections.abc import Mapping

    import torch
    from torch import Tensor


class SebSettings(Settings):
    """Settings of spectral edge budgeting."""

    amount = "sparsity"
    sparsity: float = Field(0.5, ge=0, lt=1, description="share of all weights that end as zero, 0 to below 1")
    regime: Literal["four_regime", "final", "fixed"] = Field(
        "four_regime",
        description="the published table that sets signal, betas and decay by sparsity; fixed: the fields below",
    )
    signal: Literal["sigma_plus", "hill"] = Field(
        "sigma_plus", description="spectral figure that ranks the layers; fixed only"
    )
    beta_attention: float = Field(1.0, ge=0, description="strength in attention layers; fixed only")
    beta_mlp: float = Field(1.0, ge=0, description="strength in MLP layers; fixed only")
    beta_other: float = Field(1.0, ge=0, description="strength in all other layers; fixed only")
    decay_end: float = Field(0.5, gt=0, description="sparsity at which the strength has decayed to 0; fixed only")
    decay_power: float = Field(1.0, gt=0, description="exponent of the decay; fixed only")
    floor: float = Field(0.1, gt=0, le=1, description="smallest weight w of a layer, which bounds its protection")
    missing: Literal["mean", "zero"] = Field(
        "mean", description="a layer without the signal counts as average (z = 0), or as having signal 0"
    )
    attention: tuple[str, ...] = Field(
        ("attn", "attention"), description="parts of keys that mean attention; tried first"
    )
    mlp: tuple[str, ...] = Field(
        ("mlp", ".fc", "intermediate.dense", "output.dense"), description="parts of keys that mean MLP"
    )
    fit: str = Field("mp", description="variant of spectral_fit to read sigma_plus and hill from")
    exclude: tuple[str, ...] = Field((), description="patterns (as in a shell) of keys that stay dense and uncounted")


@final
class SpectralEdgeBudgeting(Pruner):
    """Global magnitude pruning with each layer's scores divided by a spectral weight."""

    name = "seb"
    Settings = SebSettings

    def needs(self) -> tuple[str, ...]:
        """The spectral fit of every layer."""
        return (f"spectral_fit={self.settings.fit}",)

    def masks(self, weights: Mapping[str, Tensor], measured: Measured, generator: torch.Generator) -> dict[str, Tensor]:
        """|w| over the layer's spectral weight decides; see `Pruner.masks`."""
        from .core import layer_types, layer_weights, regime_of, standardised

        keys = included(weights, self.settings.exclude)
        regime = regime_of(self.settings)
        fitted = measured[self.settings.fit]
        z = standardised({key: fitted.get(key, {}).get(regime.signal) for key in keys}, self.settings.missing)
        types = layer_types(keys, self.settings.attention, self.settings.mlp)
        scale = layer_weights(z, types, regime, self.settings.sparsity, self.settings.floor)
        return keep_highest({key: weights[key].abs() / scale[key] for key in keys}, self.settings.sparsity)


@hookimpl
def register_methods() -> list[type]:
    """The methods of this plugin."""
    return [SpectralEdgeBudgeting]
