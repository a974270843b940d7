"""Spectral edge budgeting as numbers: signal -> z-score -> weight of a layer.

Source: "Pruning via the Marchenko-Pastur distribution", spectral edge budgeting (SEB) and its four-regime table.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

ATTENTION, MLP, OTHER = "attention", "mlp", "other"


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
    """The regime that the settings (`SebSettings`) mean at their sparsity.

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
    """w = max(floor, 1 + beta(type) * d(s) * z), with d(s) = max(0, 1 - s / decay_end) ** decay_power.

    Magnitudes are divided by w, so w > 1 means pruned more.
    """
    decay = max(0.0, 1 - sparsity / regime.decay_end) ** regime.decay_power
    return {key: max(floor, 1 + regime.beta[types[key]] * decay * value) for key, value in z.items()}
