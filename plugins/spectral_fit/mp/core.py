"""The spectrum of a weight matrix, and the Marchenko-Pastur bulk fitted to it by BEMA."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from .lapack import eigvalsh
from .law import Array, mp_cdf, mp_quantile, spike_strength, tw1_quantile

HILL_TAIL = 20
"""Eigenvalues behind the Hill exponent, at most."""
HILL_LARGEST = 99.0
"""The exponent reported where the tail is too short or too flat to have one."""
SINGLE_PRECISION_RANGE = 1e4
"""While the largest eigenvalue is at most so many times the smallest one that the fit reads, a single-precision Gram
matrix gives every eigenvalue in the fit to 5e-5 of itself (measured at 512x512, 768x768 and 768x3072, spikes up to 64
times as strong as the bulk holds)."""
ROUNDING = 1e-12
"""Eigenvalues below so many times the largest are rounding errors in the place of zeros."""
BINS, BULK_WIDTHS = 64, 1.5
"""Bars of the histogram, and how far it reaches, in units of the bulk's upper edge."""


def eigenvalues(matrix: Float[Tensor, "rows columns"], alpha: float) -> Array:
    """Squared singular values, ascending, by the smaller Gram matrix; in double precision if the condition asks for it.

    The Gram matrix costs `p^2 n` and its eigenvalues `4/3 p^3`: about a tenth of a singular value decomposition.
    Whether single precision suffices is read from the spread between the largest eigenvalue and the smallest one that
    the fit uses (rank `alpha p`).
    """
    single = matrix.detach() if matrix.dtype == torch.float64 else matrix.detach().float()
    values = gram_eigenvalues(single)
    if single.dtype == torch.float32 and values[-1] > SINGLE_PRECISION_RANGE * values[int(alpha * len(values))]:
        values = gram_eigenvalues(single.double())
    return np.maximum(values.astype(np.float64), 0)


def gram_eigenvalues(matrix: Tensor) -> Any:
    """Eigenvalues of the smaller of A A^T and A^T A, ascending, in the precision of A `[rows, columns]`.

    On the CPU numpy multiplies, because it sees that the product is symmetric and computes one triangle only.
    """
    wide = matrix.shape[0] <= matrix.shape[1]
    if matrix.is_cuda:
        return torch.linalg.eigvalsh(matrix @ matrix.T if wide else matrix.T @ matrix).cpu().numpy()
    plain = matrix.cpu().numpy()
    gram = plain @ plain.T if wide else plain.T @ plain
    return eigvalsh(gram)


@lru_cache(maxsize=256)
def _window(count: int, gamma: float, alpha: float, centred: bool) -> tuple[slice, Array]:
    """Which of `count` ascending eigenvalues the fit reads, and the unit-variance quantiles that belong to them."""
    window = slice(int(alpha * count), int((1 - alpha) * count))
    return window, mp_quantile((np.arange(window.start, window.stop) + 0.5 * centred) / count, gamma)


def _edge(p: int, n: int, share: float, exponent: str) -> float:
    """The upper edge at unit variance, moved to where `share` of all noise matrices have their largest eigenvalue."""
    width = (1 + np.sqrt(p / n)) ** 4 / 3 if exponent == "coded" else (1 + np.sqrt(p / n)) ** (4 / 3)
    edge = (1 + np.sqrt(p / n)) ** 2 + tw1_quantile(share) * n ** (-2 / 3) * (p / n) ** (-1 / 6) * width
    return max(0.0, float(edge))  # small matrices and low quantiles would take it below zero


def hill_exponent(values: Array) -> float:
    """Hill's estimate of the tail exponent of ascending eigenvalues, 99 if the tail is too short or flat."""
    positive = values[values > ROUNDING * values[-1]]
    tail = min(HILL_TAIL, len(positive) - 1)
    if tail < 2:
        return HILL_LARGEST
    mean = float(np.mean(np.log(positive[-tail:])) - np.log(positive[-tail - 1]))
    return min(HILL_LARGEST, 1 + 1 / max(mean, 1e-9))


def fit_row(matrix: Float[Tensor, "rows columns"], settings: Any) -> dict[str, Any]:
    """The row of one matrix; see the card for its entries. Rows without a fit say why under `reason`."""
    rows, columns = matrix.shape
    p, n = sorted((rows, columns))
    row: dict[str, Any] = {"fitted": False, "rows": rows, "columns": columns, "hill": HILL_LARGEST}
    if not bool(torch.isfinite(matrix.sum())):  # as safe as asking every value, and five times as fast
        return {**row, "reason": "the matrix holds values that are not finite"}
    values = eigenvalues(matrix, settings.alpha) / n
    row["hill"] = hill_exponent(values)
    if p < settings.smallest:
        return {**row, "reason": f"the shorter side is {p}, a fit needs at least {settings.smallest}"}
    variance, left_out = _fit(values, n, settings, _edge(p, n, 1 - settings.spike_level, settings.exponent))
    if variance <= ROUNDING * values[-1]:
        return {**row, "reason": "the rank is too low: the middle of the spectrum is zero"}
    figures = _figures(values, variance, left_out, n, settings)
    error = figures["fit_error"]
    if error > settings.accept:
        return {**row, "fit_error": error, "reason": f"the fit error {error:.3g} exceeds accept, {settings.accept:g}"}
    return row | {"fitted": True} | figures


def _fit(values: Array, n: int, settings: Any, spike_edge: float) -> tuple[float, int]:
    """The bulk's variance by BEMA (quantiles regressed through the origin), and how many spikes were left out of it.

    Spikes shift the ranks of all that lie below them, so each refit leaves out those that the fit before it found:
    k directions taken off both sides leave a bulk of (p - k) x (n - k) noise.
    """
    p, spikes = len(values), 0
    for _ in range(settings.refits + 1):
        left_out = spikes
        inner, gamma = _bulk(values, n, left_out)
        window, quantiles = _window(len(inner), gamma, settings.alpha, settings.ranks == "centred")
        variance = float(quantiles @ inner[window] / (quantiles @ quantiles))
        spikes = min(int((values > variance * spike_edge).sum()), p - settings.smallest)
        if spikes == left_out:
            break
    return variance, left_out


def _bulk(values: Array, n: int, left_out: int) -> tuple[Array, float]:
    """The eigenvalues without the largest `left_out`, in units of the bulk's own longer side, and its ratio gamma."""
    p = len(values) - left_out
    return values[:p] * (n / (n - left_out)), p / (n - left_out)


def _figures(values: Array, variance: float, left_out: int, n: int, settings: Any) -> dict[str, Any]:
    """What follows from the fitted variance; `values` are squared singular values over the longer side `n`."""
    p = len(values)
    bare = variance * (1 + (p / n) ** 0.5) ** 2
    plus = bare if settings.edge == "bare" else variance * _edge(p, n, 1 - settings.beta, settings.exponent)
    spike = variance * _edge(p, n, 1 - settings.spike_level, settings.exponent)
    inner, gamma = _bulk(values, n, left_out)
    outliers, spikes = int((values > plus).sum()), int((values > spike).sum())
    largest = values[: -HILL_TAIL - 1 : -1]
    strengths = spike_strength(largest[:spikes] / variance, p / n) * (n * variance) ** 0.5
    return {
        "gamma": p / n,
        "sigma_hat": variance**0.5,
        "lambda_plus": plus,
        "sigma_plus": (n * plus) ** 0.5,
        "sigma_edge": (n * bare) ** 0.5,
        "spike_edge": (n * spike) ** 0.5,
        "fit_error": _fit_error(inner / variance, gamma, settings.alpha),
        "bulk_fraction": 1 - outliers / p,
        "outliers": outliers,
        "outlier_mass": float(values[p - outliers :].sum() / values.sum()),
        "spikes": spikes,
        "spike_mass": float(values[p - spikes :].sum() / values.sum()),
        "spike_strengths": strengths.tolist(),
        "largest": largest.tolist(),
        **_histogram(values, BULK_WIDTHS * spike),
    }


def _fit_error(values: Array, gamma: float, alpha: float) -> float:
    """Largest distance between the law of unit variance and the empirical distribution over the central window."""
    inner = values[int(alpha * len(values)) : int((1 - alpha) * len(values))]
    empirical = alpha + (1 - 2 * alpha) * np.arange(len(inner)) / len(inner)
    return float(np.abs(mp_cdf(inner, gamma) - empirical).max())


def _histogram(values: Array, reach: float) -> dict[str, Any]:
    """Counts over equal bars from 0 to `reach`; `histogram_beyond` eigenvalues lie further out."""
    counts, _ = np.histogram(values, bins=BINS, range=(0.0, reach))
    return {
        "histogram": counts.tolist(),
        "histogram_edges": [0.0, reach],
        "histogram_beyond": int(len(values) - counts.sum()),
    }
