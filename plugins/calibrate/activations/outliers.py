"""How far a layer's outputs reach beyond the most of them, before the activation function."""

from __future__ import annotations

import math

from prunery.calibrate import histogram_quantile, histogram_share

from .histogram import StreamingHistogram

WHISKER = 1.5
"""Reach of a box plot's whiskers, in interquartile ranges beyond the quartiles (Tukey)."""
SIGMAS = 3.0
"""Standard deviations beyond which the other rule calls a value an outlier."""


def outlier_figures(histogram: StreamingHistogram, total: float, squares: float) -> dict[str, float]:
    """`mean`, `variance`, `abs_max`, and the shares (0..1) of outliers by both rules.

    `total` and `squares` are the sums of the values and of their squares. Mean, variance and extreme are exact. Shares
    are read from the histogram: the bounds of `outliers_sigma` are exact and lie within a bin each; those of
    `outliers_iqr` are off by less than four bins, since a quartile is off by less than one.
    """
    counts, edges = histogram.counts, histogram.edges
    count = int(counts.sum())
    mean = total / count
    variance = max(squares / count - mean**2, 0.0)
    first, third = (histogram_quantile(counts, edges, share) for share in (0.25, 0.75))
    reach, spread = WHISKER * (third - first), SIGMAS * math.sqrt(variance)
    return {
        "mean": mean,
        "variance": variance,
        "abs_max": max(-histogram.minimum, histogram.maximum),
        "outliers_iqr": _beyond(histogram, first - reach, third + reach),
        "outliers_sigma": _beyond(histogram, mean - spread, mean + spread),
    }


def _beyond(histogram: StreamingHistogram, low: float, high: float) -> float:
    """The share of values outside of low..high."""
    counts, edges = histogram.counts, histogram.edges
    below = histogram_share(counts, edges, low) if low > histogram.minimum else 0.0
    above = 1 - histogram_share(counts, edges, high) if high < histogram.maximum else 0.0
    return below + above
