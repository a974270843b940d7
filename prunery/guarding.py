"""Guards of spectral edge budgeting: what else may shield a layer, as factors of its weight w.

Source: the optional adaptive package that accompanies "Pruning via the Marchenko-Pastur distribution".
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from prunery.layers import as_matrix

if TYPE_CHECKING:
    from prunery.budgeting import BudgetSettings
    from prunery.contract import Measured

STEEP, STEEP_SHARE = 0.70, 0.75
"""Factor of the layers whose gradient is above this quantile of all layers' gradients."""
LEAST_HEADROOM = 0.25


def guarded(
    scale: Mapping[str, float], weights: Mapping[str, Tensor], measured: Measured, settings: BudgetSettings
) -> dict[str, float]:
    """The weights w times the factors of the settings' guards, still at least `floor`.

    gradient: 0.70 for layers in the top quartile of gradient norms (root of the summed `fisher` of `calibrate`).
    headroom: the mean of density and effective rank over full rank, at least 0.25. bulk: 1 + 0.15 (share of singular
    values up to sigma_plus - 0.5)+. spikes: max(0.7, 1 - 0.2 (share of energy above it - 0.25)+). A layer without the
    spectral figure keeps its w.
    """
    steep = _steep(scale, measured, settings) if "gradient" in settings.guards else set()
    found = {}
    for key, value in scale.items():
        row = measured[settings.fit].get(key, {})
        factors = {
            "gradient": STEEP if key in steep else 1.0,
            "bulk": 1 + 0.15 * max(0.0, row.get("bulk_fraction", 0.5) - 0.5),
            "spikes": max(0.7, 1 - 0.2 * max(0.0, row.get("outlier_mass", 0.25) - 0.25)),
        }
        if "headroom" in settings.guards:
            factors["headroom"] = headroom(weights[key])
        found[key] = max(settings.floor, value * math.prod(factors[guard] for guard in dict.fromkeys(settings.guards)))
    return found


def headroom(weight: Float[Tensor, "out ..."]) -> float:
    """How much a layer still has to give: the mean of its density and of its effective rank over its full rank.

    The effective rank is exp(entropy of the singular values' shares) (Roy and Vetterli 2007); the published code does
    not say which one it takes. At least 0.25.
    """
    values = torch.linalg.svdvals(as_matrix(weight).float())
    shares = values / values.sum().clamp_min(torch.finfo(values.dtype).tiny)
    rank = float(torch.special.entr(shares).sum().exp()) / len(values)
    density = float((weight != 0).float().mean())
    return max(LEAST_HEADROOM, (density + rank) / 2)


def _steep(keys: Mapping[str, float], measured: Measured, settings: BudgetSettings) -> set[str]:
    rows = measured[settings.gradients]
    norms = {key: float(rows[key]["fisher"].sum().sqrt()) for key in keys if key in rows}
    if not norms:
        return set()
    limit = float(torch.tensor(list(norms.values())).quantile(STEEP_SHARE))
    return {key for key, norm in norms.items() if norm > limit}
