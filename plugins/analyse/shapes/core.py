"""The spread of means over the members of a group, and what chance adds to it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Floats = NDArray[np.float64]


def spread(means: Floats) -> Floats:
    """Largest minus smallest of the last axis."""
    return np.asarray(means.max(axis=-1) - means.min(axis=-1))


def simultaneous(means: Floats, errors: Floats, counts: NDArray[np.int64], level: float) -> tuple[float, float]:
    """An interval of the spread of the true means that covers it with at least `level`.

    Student's t intervals that hold for all members at once (Bonferroni): then some two members lie at least as far
    apart as their nearer ends, and none farther than the outermost ends.
    """
    reach = stats.t.ppf(1 - (1 - level) / (2 * len(means)), counts - 1) * errors
    low, high = means - reach, means + reach
    return max(0.0, float(low.max() - high.min())), float(high.max() - low.min())


def shrunken(means: Floats, errors: Floats) -> Floats:
    """Means drawn towards their mean until they scatter as the true ones are estimated to: without what noise adds.

    The scatter of noisy means is the sum of that of the true ones and of the noise, so the factor is the root of
    1 - (mean of the squared errors) / (variance of the means), 0 where noise explains all of it (constrained empirical
    Bayes: Louis, JASA 1984).
    """
    scatter = float(means.var(ddof=1))
    share = 1 - float((errors**2).mean()) / scatter if scatter > 0 else 0.0
    return np.asarray(means.mean() + np.sqrt(max(0.0, share)) * (means - means.mean()))
