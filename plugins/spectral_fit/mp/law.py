"""Two laws of random matrix theory: Marchenko-Pastur (the bulk) and Tracy-Widom (the fluctuation of its edge)."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import airy

Array = NDArray[np.float64]

HALVINGS = 46
"""Bisection steps of a quantile: pi / 2^46 < 1e-13."""
NODES, REACH = 40, 24.0
"""Quadrature nodes of the Tracy-Widom determinant, and the length of half-line its rapidly decaying kernel needs."""


def _points(angle: Array, gamma: float) -> Array:
    """Where the angle lies in the support: 0 is the upper edge, pi the lower one."""
    root = np.sqrt(gamma)
    return (1 - root) ** 2 + 4 * root * np.cos(angle / 2) ** 2


def _upper_tail(angle: Array, gamma: float) -> Array:
    """Mass of the Marchenko-Pastur law above the point at `angle`.

    With x = 1 + gamma + 2 sqrt(gamma) cos(angle) the integral of the density is elementary, and free of the
    cancellation at the edges that its usual form with arcsines of x suffers from.
    """
    root = np.sqrt(gamma)
    other = 2 * np.arctan2((1 - root) * np.sin(angle / 2), (1 + root) * np.cos(angle / 2))
    area = (1 + gamma) * angle - (1 - gamma) * other - 2 * root * np.sin(angle)
    return np.asarray(area / (2 * np.pi * gamma))


def mp_cdf(x: Any, gamma: float) -> Array:
    """Distribution function of the Marchenko-Pastur law with ratio 0 < gamma <= 1 and unit variance, in closed form."""
    cosine = (np.asarray(x, dtype=np.float64) - 1 - gamma) / (2 * np.sqrt(gamma))
    return 1 - _upper_tail(np.arccos(np.clip(cosine, -1, 1)), gamma)


def mp_quantile(share: Any, gamma: float) -> Array:
    """Inverse of `mp_cdf` by bisection of the angle, all shares at once; exact to 1e-12."""
    tail = 1 - np.asarray(share, dtype=np.float64)
    low, high = np.zeros_like(tail), np.full_like(tail, np.pi)
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        below = _upper_tail(middle, gamma) < tail
        low, high = np.where(below, middle, low), np.where(below, high, middle)
    return _points((low + high) / 2, gamma)


def spike_strength(x: Any, gamma: float) -> Array:
    """What planted a spike: the singular value theta behind an eigenvalue x above the upper edge, in units of
    sigma sqrt(n).

    The inverse of x = (1 + theta^2) (gamma + theta^2) / theta^2 (Benaych-Georges and Nadakuditi 2012, section 3.1); for
    square matrices theta = (s + sqrt(s^2 - 4)) / 2 with s = sqrt(x).
    """
    above = np.asarray(x, dtype=np.float64) - 1 - gamma
    return np.asarray(np.sqrt((above + np.sqrt(np.maximum(above**2 - 4 * gamma, 0))) / 2))


@lru_cache(maxsize=1)
def _legendre() -> tuple[Array, Array]:
    nodes, weights = np.polynomial.legendre.leggauss(NODES)
    return REACH * (nodes + 1) / 2, REACH * weights / 2


def tw1_cdf(s: float) -> float:
    """Distribution function of the Tracy-Widom law for real symmetric matrices (beta = 1).

    The Fredholm determinant det(1 - V) on (s, inf) with V(x, y) = Ai((x + y) / 2) / 2 (Ferrari and Spohn 2005,
    eq. 1.8), by Gauss-Legendre quadrature (Bornemann 2010, Math. Comp. 79). Exact to 1e-10 for -6 <= s <= 6.
    """
    nodes, weights = _legendre()
    points = s + nodes
    kernel = airy((points[:, None] + points[None, :]) / 2)[0] / 2
    scale = np.sqrt(weights)
    return float(np.linalg.det(np.eye(NODES) - scale[:, None] * kernel * scale[None, :]))


@lru_cache(maxsize=64)
def tw1_quantile(share: float) -> float:
    """Inverse of `tw1_cdf`, for shares from 1e-6 to 1 - 1e-6."""
    return float(brentq(lambda s: tw1_cdf(s) - share, -8.0, 8.0, xtol=1e-9))
