"""Spectral edge budgeting: how much each layer may lose, from the spectra of its weights. Imports no torch by itself.

Signal -> z-score over the layers -> weight w of a layer, by which its magnitudes are divided: w > 1 means pruned more.
Source: "Pruning via the Marchenko-Pastur distribution", spectral edge budgeting (SEB) and its four-regime table.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from prunery.contract import Measured, Settings
from prunery.sparsity import included

if TYPE_CHECKING:
    from torch import Tensor

ATTENTION, MLP, OTHER = "attention", "mlp", "other"

Guard = Literal["gradient", "headroom", "bulk", "spikes"]
"""What may shield a layer beside its signal; see `prunery.guarding`."""


class BudgetSettings(Settings):
    """Settings of methods whose layers are weighed by their spectra."""

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
    guards: tuple[Guard, ...] = Field(
        (), description="figures that shield layers further (gradient, headroom, bulk, spikes): factors of w"
    )
    attention: tuple[str, ...] = Field(
        ("attn", "attention"), description="parts of keys that mean attention; tried first"
    )
    mlp: tuple[str, ...] = Field(
        ("mlp", ".fc", "intermediate.dense", "output.dense"), description="parts of keys that mean MLP"
    )
    fit: str = Field("mp", description="variant of spectral_fit to read sigma_plus and hill from")
    spectra: Literal["dense", "parent"] = Field(
        "dense", description="whose spectra: the dense network's the recipe started from, or the present one's"
    )
    gradients: str = Field("gradients", description="variant of calibrate that the guard gradient reads")
    exclude: tuple[str, ...] = Field((), description="patterns (as in a shell) of keys that stay dense and uncounted")

    @property
    def reads(self) -> tuple[str, ...]:
        """The measurements that weigh the layers: part of what a pruner's `needs` answers."""
        whose = "dense:" if self.spectra == "dense" else ""
        spectra = f"{whose}spectral_fit={self.fit}"
        return (spectra, f"calibrate={self.gradients}") if "gradient" in self.guards else (spectra,)


@dataclass(frozen=True)
class Regime:
    """Which signal modulates the layers, how strongly by layer type, and at which sparsity that has decayed to none."""

    signal: str
    beta: Mapping[str, float]
    decay_end: float
    decay_power: float = 1.0


def _uniform(beta: float) -> dict[str, float]:
    return dict.fromkeys((ATTENTION, MLP, OTHER), beta)


FOUR_REGIMES = (
    (0.20, Regime("hill", _uniform(0.50), 0.30)),
    (0.40, Regime("sigma_plus", _uniform(1.00), 0.50)),
    (0.55, Regime("sigma_plus", _uniform(1.25), 0.70)),
    (1.00, Regime("sigma_plus", {ATTENTION: 1.00, MLP: 2.00, OTHER: 1.50}, 0.85)),
)
"""(highest sparsity, regime): the published four-regime setting."""

PLAIN, EDGE = Regime("sigma_plus", _uniform(0.0), 0.5), Regime("sigma_plus", _uniform(1.0), 0.5)


def regime_of(settings: Any) -> Regime:
    """The regime that the settings (`BudgetSettings`) mean at their sparsity.

    `final` is plain magnitude below 0.30 and beta 1, decay end 0.5 from there.
    """
    sparsity = settings.sparsity
    if settings.regime == "four_regime":
        return next(regime for highest, regime in FOUR_REGIMES if sparsity <= highest)
    if settings.regime == "final":
        return PLAIN if sparsity < 0.30 else EDGE
    beta = {ATTENTION: settings.beta_attention, MLP: settings.beta_mlp, OTHER: settings.beta_other}
    return Regime(settings.signal, beta, settings.decay_end, settings.decay_power)


def layer_types(keys: Iterable[str], attention: Iterable[str], mlp: Iterable[str]) -> dict[str, str]:
    """The type of each layer by its name; attention is tried first."""

    def kind(key: str) -> str:
        if any(part in key for part in attention):
            return ATTENTION
        return MLP if any(part in key for part in mlp) else OTHER

    return {key: kind(key) for key in keys}


def standardised(signals: Mapping[str, float | None], missing: str) -> dict[str, float]:
    """z = (u - mean) / population standard deviation over the layers; 0 everywhere if the signal does not vary.

    A layer without a finite signal gets z = 0 (`missing="mean"`) or takes part with u = 0 (`missing="zero"`).
    """
    known = {key: value for key, value in signals.items() if value is not None and math.isfinite(value)}
    if missing == "zero":
        known = {key: known.get(key, 0.0) for key in signals}
    if not known:
        return dict.fromkeys(signals, 0.0)
    mean = math.fsum(known.values()) / len(known)
    deviation = math.sqrt(math.fsum((value - mean) ** 2 for value in known.values()) / len(known))
    return {key: (known.get(key, mean) - mean) / deviation if deviation else 0.0 for key in signals}


def layer_weights(
    z: Mapping[str, float], types: Mapping[str, str], regime: Regime, sparsity: float, floor: float
) -> dict[str, float]:
    """w = max(floor, 1 + beta(type) * d(s) * z), with d(s) = max(0, 1 - s / decay_end) ** decay_power."""
    decay = max(0.0, 1 - sparsity / regime.decay_end) ** regime.decay_power
    return {key: max(floor, 1 + regime.beta[types[key]] * decay * value) for key, value in z.items()}


def budget(weights: Mapping[str, Tensor], measured: Measured, settings: BudgetSettings) -> dict[str, float]:
    """The weight w of every layer that the settings do not exclude, by key; above 1: pruned more.

    `measured` is what a pruner is given whose `needs` hold `settings.reads`.
    Raises `PruneryError` if `exclude` matches no key or all of them.
    """
    keys = included(weights, settings.exclude)
    regime = regime_of(settings)
    fitted = measured[settings.fit]
    z = standardised({key: fitted.get(key, {}).get(regime.signal) for key in keys}, settings.missing)
    types = layer_types(keys, settings.attention, settings.mlp)
    scale = layer_weights(z, types, regime, settings.sparsity, settings.floor)
    if not settings.guards:
        return scale
    from prunery.guarding import guarded

    return guarded(scale, weights, measured, settings)
