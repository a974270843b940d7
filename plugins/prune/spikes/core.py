"""Hard thresholds for singular values."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from jaxtyping import Float
from torch import Tensor

from prunery.network import device
from prunery.singular import decompose, reshaped

CELLS = 20_000
"""Cells of the integral behind the median of the Marchenko-Pastur law: its error is below 1e-6."""


def only_spikes(weight: Float[Tensor, "out ..."], edge: float | None, keep: int) -> Float[Tensor, "out ..."]:
    """The weight of its singular values above `edge` alone, but of the `keep` largest in any case.

    Without an edge, above the optimal hard threshold of Gavish and Donoho.
    """
    parts = decompose(weight.to(device()))
    if edge is None:
        edge = gavish_donoho(*weight.flatten(1).shape) * float(parts.values.quantile(0.5))
    count = max(min(keep, len(parts.values)), int((parts.values > edge).sum()))
    return reshaped((parts.left[:, :count] * parts.values[:count]) @ parts.right[:count], weight)


@lru_cache(maxsize=256)
def gavish_donoho(rows: int, columns: int) -> float:
    """The optimal hard threshold in units of the median singular value, for noise of unknown strength.

    omega(gamma) = lambda(gamma) / sqrt(median of the Marchenko-Pastur law), with lambda^2 = 2 (gamma + 1) + 8 gamma /
    (gamma + 1 + sqrt(gamma^2 + 14 gamma + 1)) (Gavish and Donoho 2014, eqs. 3 and 11); 2.858 for square matrices.
    """
    gamma = min(rows, columns) / max(rows, columns)
    square = 2 * (gamma + 1) + 8 * gamma / (gamma + 1 + (gamma**2 + 14 * gamma + 1) ** 0.5)
    return float((square / _median(gamma)) ** 0.5)


def _median(gamma: float) -> float:
    """The median of the Marchenko-Pastur law of unit variance, by the midpoint rule.

    With x = 1 + gamma - 2 sqrt(gamma) cos(angle) the density times dx is 2 sin^2(angle) / (pi x), without poles.
    """
    ends = np.linspace(0, np.pi, CELLS + 1)
    middles = (ends[1:] + ends[:-1]) / 2
    x, at_ends = (1 + gamma - 2 * gamma**0.5 * np.cos(angles) for angles in (middles, ends))
    mass = np.concatenate([[0.0], np.cumsum(np.sin(middles) ** 2 / x)])
    return float(np.interp(mass[-1] / 2, mass, at_ends))
