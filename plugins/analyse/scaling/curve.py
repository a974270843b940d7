"""One family: accuracies by size, the laws fitted to them, and the same of resampled seeds."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from prunery.errors import PruneryError
from prunery.findings import Quantity
from prunery.reporting import resampling
from prunery.reporting.estimates import estimate
from prunery.reporting.results import DENSE, Results
from prunery.reporting.rows import only_base, percent

from .core import LOG_PARAMETERS, POWER_PARAMETERS, Fit, akaike, logarithmic, power_law

if TYPE_CHECKING:
    from . import ScalingSettings, StoredFamily

Floats = NDArray[np.float64]
FEWEST = {"logarithmic": 3, "power": 4}
"""Different sizes that tell a law from one that fits by itself."""


@dataclass(frozen=True)
class Curve:
    """Recipes by rising size, the size of each, and accuracies in percent `[seeds, recipes]`."""

    name: str
    family: StoredFamily
    settings: ScalingSettings
    recipes: tuple[str, ...]
    sizes: Floats
    accuracy: Floats

    @property
    def count(self) -> int:
        """Seeds."""
        return len(self.accuracy)

    @property
    def distinct(self) -> int:
        """Different sizes; those of formats that store the same bits count once."""
        return len(np.unique(self.sizes.round(6)))

    @cached_property
    def mean(self) -> Floats:
        """Mean accuracy of each recipe."""
        return np.asarray(self.accuracy.mean(axis=0))

    @cached_property
    def std(self) -> Floats:
        """Standard deviation of each recipe; NaN for one seed."""
        return self.accuracy.std(axis=0, ddof=1) if self.count > 1 else np.full(len(self.sizes), np.nan)

    @cached_property
    def shares(self) -> Floats:
        """Resampled seeds, whole: a seed's networks of all formats come from one dense network."""
        generator = np.random.default_rng([self.settings.seed, *self.name.encode()])
        return resampling.weights(self.count, self.settings.resamples, generator)

    @cached_property
    def means(self) -> Floats:
        """Mean accuracies in every resample `[resamples, recipes]`."""
        return resampling.means(self.shares, self.accuracy)

    def fit(self, law: str) -> tuple[Fit, Fit] | None:
        """A law fitted to the means of the data and of the resamples; None if there are too few sizes."""
        if self.distinct < FEWEST[law]:
            return None
        fitted = logarithmic if law == "logarithmic" else power_law
        return fitted(self.sizes, self.mean), fitted(self.sizes, self.means)

    @cached_property
    def fits(self) -> dict[str, tuple[Fit, Fit]]:
        """The laws that can be fitted, by name."""
        found = {law: self.fit(law) for law in FEWEST}
        return {law: fit for law, fit in found.items() if fit}

    def criteria(self, law: str) -> tuple[Floats, Floats]:
        """Akaike's criterion over all replicas, not their means alone: of the data and of the resamples."""
        fit, drawn = self.fits[law]
        parameters = LOG_PARAMETERS if law == "logarithmic" else POWER_PARAMETERS
        within = ((self.accuracy - self.mean) ** 2).sum()
        spread = self.count * (resampling.means(self.shares, self.accuracy**2) - self.means**2).sum(axis=1)
        count = self.accuracy.size
        return (
            akaike(self.count * fit.residual + within, count, parameters),
            akaike(self.count * drawn.residual + spread, count, parameters),
        )

    # --- quantities --------------------------------------------------------------------------------------------------

    def quantities(self) -> dict[str, Quantity]:
        """By the names of the card."""
        found = {"mean_accuracy": self._estimate(self.mean.mean(), self.means.mean(axis=1), "%")}
        found["fewest_bits_accuracy"] = self._estimate(self.mean[0], self.means[:, 0], "%")
        found["span"] = self._estimate(
            self.mean[-1] - self.mean[0], self.means[:, -1] - self.means[:, 0], "percentage points"
        )
        parts = {
            "log_slope": ("logarithmic", "factor", "percentage points per doubling"),
            "power_exponent": ("power", "exponent", ""),
            "saturation": ("power", "level", "%"),
        }
        for name, (law, part, unit) in parts.items():
            found[name] = self._fitted(law, part, unit)
        found["aic_difference"] = self._difference()
        return {f"{self.name}/{name}": quantity for name, quantity in found.items()}

    def _fitted(self, law: str, part: str, unit: str) -> Quantity:
        if law not in self.fits:
            return Quantity(count=self.count, unit=unit, reason=f"needs {FEWEST[law]} different sizes")
        fit, drawn = self.fits[law]
        return self._estimate(float(getattr(fit, part)), getattr(drawn, part), unit)

    def _difference(self) -> Quantity:
        """Akaike's criterion of the logarithm minus that of the power law: above zero the latter is better."""
        if len(self.fits) < 2:
            return Quantity(count=self.count, reason=f"needs {FEWEST['power']} different sizes")
        (log, logs), (power, powers) = (self.criteria(law) for law in FEWEST)
        lacking = f"{self.accuracy.size} networks are too few to compare laws"
        return estimate(log - power, logs - powers, self.count, self.settings.confidence, "", lacking)

    def _estimate(self, value: float, draws: Floats, unit: str) -> Quantity:
        return estimate(value, draws, self.count, self.settings.confidence, unit)


def read_curve(results: Results, name: str, settings: ScalingSettings) -> Curve | None:
    """The curve of a family; None where nothing of it was evaluated, as where its optional data are not here.

    Raises `PruneryError` if the family has several bases, or its recipes have no seed in common.
    """
    family, where = settings.families[name], f"analyse 'scaling', families.{name}"
    base = only_base(results, family.recipes(), where)
    steps = [f"{base}/{step}".rstrip("/") for step in family.steps]
    rows = {recipe: each for text in steps for (_, recipe), each in results.matching(text).items()} if base else {}
    if base is None or not rows:
        return None
    whole = float(results.by_recipe[base, DENSE]["parameters"].mean())
    unit = whole if settings.size == "bits_per_parameter" else 1.0
    sizes = {recipe: float(each["bits"].mean()) / unit for recipe, each in rows.items()}
    ordered = sorted(rows, key=lambda recipe: sizes[recipe])
    table = pd.DataFrame({recipe: percent(rows[recipe], f"{settings.split}_accuracy") for recipe in ordered}).dropna()
    if table.empty:
        raise PruneryError(f"{where}: its recipes have no seed in common: give them the same seeds")
    bits = np.array([sizes[recipe] for recipe in ordered])
    return Curve(name, family, settings, tuple(ordered), bits, table.to_numpy(dtype=float))
