"""Least-squares fits of accuracy over size, many curves at once, and Akaike's criterion.

Both laws are a line in some function of the size: a + b log2(x), and A - B x^-c for a given exponent c, which is
searched over a grid. Curves share their sizes, so a fit is one matrix product.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
EXPONENTS = np.geomspace(0.05, 8, 200)
"""Exponents that are tried: below, a power law is a logarithm; above, it is a step."""
LOG_PARAMETERS, POWER_PARAMETERS = 2, 3


@dataclass(frozen=True)
class Fit:
    """A law fitted to curves `[...]`: level, factor, and exponent (0 for the logarithm), and what it leaves over, the
    sum of squared distances of the curves' points."""

    level: Floats
    factor: Floats
    exponent: Floats
    residual: Floats

    def at(self, x: Floats) -> Floats:
        """The law of a single curve at sizes `x`."""
        if float(self.exponent) == 0:
            return np.asarray(self.level + self.factor * np.log2(x))
        return np.asarray(self.level - self.factor * x ** -float(self.exponent))


def logarithmic(x: Floats, y: Floats) -> Fit:
    """a + b log2(x): `factor` b is what a doubling adds. `x` `[points]`, `y` `[..., points]`."""
    level, slope, residual = _line(np.log2(x), y)
    return Fit(level, slope, np.zeros_like(level), residual)


def power_law(x: Floats, y: Floats) -> Fit:
    """A - B x^-c with c out of `EXPONENTS`: `level` A is what ever more bits lead to, `factor` is B."""
    fits = [_line(x**-exponent, y) for exponent in EXPONENTS]
    levels, slopes, residuals = (np.stack(part, axis=-1) for part in zip(*fits, strict=True))
    best = residuals.argmin(axis=-1)[..., None]
    level, slope, residual = (np.take_along_axis(part, best, axis=-1)[..., 0] for part in (levels, slopes, residuals))
    return Fit(level, -slope, EXPONENTS[best[..., 0]], residual)


def _line(u: Floats, y: Floats) -> tuple[Floats, Floats, Floats]:
    """Intercept, slope and residual sum of squares of y over u."""
    centred = u - u.mean()
    means = y.mean(axis=-1)
    slope = (y - means[..., None]) @ centred / (centred @ centred)
    level = means - slope * u.mean()
    residual = ((y - level[..., None] - slope[..., None] * u) ** 2).sum(axis=-1)
    return level, slope, residual


def akaike(residual: Floats, count: int, parameters: int) -> Floats:
    """Akaike's criterion, corrected for few values (Hurvich and Tsai 1989), of a fit with normal errors.

    n log(RSS / n) + 2k + 2k(k + 1) / (n - k - 1), k the parameters and the error's variance; NaN if `count` values
    are too few. Smaller is better; a difference of 2 is little, of 10 much.
    """
    k = parameters + 1
    if count <= k + 1:
        return np.full(np.shape(residual), np.nan)
    tiny = np.maximum(residual, 1e-12 * count)
    return np.asarray(count * np.log(tiny / count) + 2 * k + 2 * k * (k + 1) / (count - k - 1))
