"""One family: accuracies by ratio, what is gone of the network, and where it collapses, with resampled seeds."""

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
from prunery.reporting.estimates import ONE_SEED, POINTS, estimate, first_of
from prunery.reporting.results import DENSE, Results
from prunery.reporting.rows import by_ratio, only_base, percent

from .core import behind_largest_drop, largest_drop, near_chance

if TYPE_CHECKING:
    from . import CollapseSettings, PrunedFamily

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Curve:
    """Ratios, 0 first; the share of the dense network's parameters that is zero or gone at each; accuracies in
    percent `[seeds, ratios]`; and the accuracy of guessing."""

    name: str
    family: PrunedFamily
    settings: CollapseSettings
    ratios: Floats
    removed: Floats
    accuracy: Floats
    chance: float

    @property
    def count(self) -> int:
        """Seeds."""
        return len(self.accuracy)

    @cached_property
    def mean(self) -> Floats:
        """Mean accuracy at each ratio."""
        return np.asarray(self.accuracy.mean(axis=0))

    @cached_property
    def std(self) -> Floats:
        """Standard deviation at each ratio; NaN for one seed."""
        return self.accuracy.std(axis=0, ddof=1) if self.count > 1 else np.full(len(self.ratios), np.nan)

    @cached_property
    def means(self) -> Floats:
        """The same means in every resample `[resamples, ratios]`."""
        generator = np.random.default_rng([self.settings.seed, *self.name.encode()])
        return resampling.means(resampling.weights(self.count, self.settings.resamples, generator), self.accuracy)

    def index(self, definition: str) -> int:
        """Index of the ratio at which the mean collapses."""
        return int(self._indices(definition, self.mean))

    def _indices(self, definition: str, means: Floats) -> Ints:
        if definition == "drop":
            return behind_largest_drop(means)
        return near_chance(means, self.chance, self.settings.margin)

    # --- quantities --------------------------------------------------------------------------------------------------

    def quantities(self) -> dict[str, Quantity]:
        """By the names of the card."""
        definition = self.settings.definition
        found = {"collapse": self.collapse(definition), "collapse_removed": self.collapse(definition, self.removed)}
        found |= {f"collapse_by_{each}": self.collapse(each) for each in ("chance", "drop")}
        found["largest_drop"] = self._estimate(largest_drop(self.mean), largest_drop(self.means), POINTS)
        for ratio, mean, drawn in zip(self.ratios, self.mean, self.means.T, strict=True):
            found[f"accuracy@{ratio:g}"] = self._estimate(mean, drawn, "%")
        return {f"{self.name}/{name}": quantity for name, quantity in found.items()}

    def collapse(self, definition: str, grid: Floats | None = None) -> Quantity:
        """The ratio of the collapse, or what `grid` holds for it."""
        values, index = self.ratios if grid is None else grid, self.index(definition)
        if definition == "drop":
            lacking = "accuracy never falls"
        else:
            lacking = f"no accuracy is within {self.settings.margin:g} points of {self.chance:g} %"
        if self.count < 2:
            value = float(values[index]) if index < len(values) else None
            return Quantity(value=value, count=self.count, reason=ONE_SEED if value is not None else lacking)
        drawn = self._indices(definition, self.means)
        return first_of(values, index, drawn, self.count, self.settings.confidence, "", lacking)

    def _estimate(self, value: float, draws: Floats, unit: str) -> Quantity:
        return estimate(value, draws, self.count, self.settings.confidence, unit)


def read_curve(results: Results, name: str, settings: CollapseSettings) -> Curve | None:
    """The curve of a family; None where nothing of it was evaluated, as where its optional data are not here.

    Raises `PruneryError` if the family has several bases, a recipe states no ratio, or chance is not known.
    """
    family, where = settings.families[name], f"analyse 'collapse', families.{name}"
    base = only_base(results, family.recipes(), where)
    rows = by_ratio(results.matching(f"{base}/{family.prune}"), where) if base else {}
    if base is None or not rows:
        return None
    dense = results.by_recipe[base, DENSE]
    columns = {0.0: dense, **dict(sorted(rows.items()))}
    table = pd.DataFrame({ratio: percent(each, f"{settings.split}_accuracy") for ratio, each in columns.items()})
    whole = float(dense["parameters"].mean())
    removed = [1 - float(each["nonzero"].mean()) / whole for each in columns.values()]
    kept = table.dropna()
    if kept.empty:
        raise PruneryError(f"{where}: no seed was evaluated at every ratio: give its recipes the same seeds")
    return Curve(
        name, family, settings, kept.columns.to_numpy(dtype=float), np.array(removed),
        kept.to_numpy(dtype=float), _chance(results, base, settings, where),
    )  # fmt: skip


def _chance(results: Results, base: str, settings: CollapseSettings, where: str) -> float:
    """The accuracy of guessing, in percent."""
    if settings.chance is not None:
        return settings.chance
    classes = [stage.classes for path, stage in results.stages.items() if path.partition("/")[0] == base]
    if not any(classes):
        raise PruneryError(f"{where}: the record of {base} does not say how many classes there are: set chance")
    return 100 / max(classes)
