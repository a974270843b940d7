"""One cycle of classical pruning by random matrix theory: thresholds of vectors, scores and counts of layers."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import fmean
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from prunery.allocating import whole_counts
from prunery.errors import PruneryError
from prunery.network import device
from prunery.singular import decompose, reshaped

Fit = Mapping[str, Any]


def thresholds(
    values: Float[Tensor, " rank"], edge: float, theta: float, power: float, least: float
) -> Float[Tensor, " rank"]:
    """T_i = theta * max(least, max(0, 1 - s_i / edge)^power): entries of the vectors of s_i below it become zero."""
    return theta * (1 - values / edge).clamp_min(0).pow(power).clamp_min(least)


def sparse_vectors(weight: Float[Tensor, "out ..."], fit: Fit, settings: Any) -> Float[Tensor, "out ..."]:
    """The weight recomposed from singular vectors without their small entries; as it is where there is nothing to do.

    That is in cycles that `every` does not divide, and for layers without a fit or with an edge of zero.
    """
    edge = fit.get("sigma_plus")
    if not edge or not settings.every or settings.number % settings.every:
        return weight
    parts = decompose(weight.to(device()))
    theta = settings.theta * settings.rho * parts.left.shape[0] * parts.right.shape[1]
    least = thresholds(parts.values, edge, theta, settings.power, settings.least)
    left = parts.left.where(parts.left.abs() >= least, 0)
    right = parts.right.where(parts.right.abs() >= least[:, None], 0)
    return reshaped((left * parts.values) @ right, weight)


def scores(fits: Mapping[str, Fit], exponent: float, missing: str) -> dict[str, float]:
    """[(1 - fit error) * bulk fraction]^exponent by layer: how much of it is noise that follows the law."""
    known = {
        key: max(0.0, (1 - fit["fit_error"]) * fit["bulk_fraction"]) ** exponent
        for key, fit in fits.items()
        if fit.get("fitted")
    }
    other = (fmean(known.values()) if known else 1.0) if missing == "mean" else 0.0
    return {key: known.get(key, other) for key in fits}


def removals(alive: Mapping[str, Bool[Tensor, "out ..."]], score: Mapping[str, float], settings: Any) -> dict[str, int]:
    """How many weights each layer loses: int(score * rho * alive), or in that proportion to reach the sparsity.

    No layer loses more than it has; what one cannot give, the others do.
    """
    sizes = {key: int(mask.sum()) for key, mask in alive.items()}
    if settings.sparsity is None:
        return {key: int(min(1.0, score[key] * settings.rho) * size) for key, size in sizes.items()}
    total = sum(mask.numel() for mask in alive.values())
    wanted = max(0, int(settings.sparsity * total) - (total - sum(sizes.values())))
    if wanted > sum(size for key, size in sizes.items() if score[key] > 0):
        raise PruneryError(
            f"sparsity {settings.sparsity:g} is more than the layers with a fit can give: set missing: mean, or less"
        )
    return whole_counts(sizes, level(sizes, score, wanted), wanted)


def level(sizes: Mapping[str, int], score: Mapping[str, float], wanted: int) -> dict[str, float]:
    """Shares min(1, c * score) of `sizes` that add up to `wanted`, or as near as layers with a score can."""
    shares: dict[str, float] = {}
    open_ = {key: size for key, size in sizes.items() if score[key] > 0 and size}
    left = float(wanted)
    while open_:
        c = left / sum(score[key] * size for key, size in open_.items())
        full = [key for key in open_ if c * score[key] >= 1]
        if not full:
            shares |= {key: c * score[key] for key in open_}
            break
        shares |= dict.fromkeys(full, 1.0)
        left -= sum(open_.pop(key) for key in full)
    return {key: shares.get(key, 0.0) for key in sizes}


def smallest_masked(
    values: Float[Tensor, "out ..."], alive: Bool[Tensor, "out ..."], count: int
) -> Bool[Tensor, "out ..."]:
    """`alive` less its `count` smallest magnitudes; of equal ones, those of lower index go first."""
    order = values.abs().masked_fill(~alive, torch.inf).flatten().argsort(stable=True)
    mask = alive.clone()
    mask.view(-1)[order[:count]] = False
    return mask
