"""One family: drops of accuracy by size and ratio, and the lines through them, with resampled seeds."""

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
from prunery.reporting.estimates import POINTS, estimate
from prunery.reporting.results import DENSE, Results
from prunery.reporting.rows import by_ratio, percent

if TYPE_CHECKING:
    from . import SizedFamily, TrendSettings

Floats = NDArray[np.float64]
PER_DECADE = "percentage points per tenfold size"


@dataclass(frozen=True)
class Member:
    """One base: its size, and by how much accuracy falls, in percentage points `[seeds, ratios]`."""

    base: str
    size: float
    drops: Floats


@dataclass(frozen=True)
class Sizes:
    """A family's bases by rising size, all with the same ratios."""

    name: str
    settings: TrendSettings
    ratios: Floats
    members: tuple[Member, ...]

    @property
    def count(self) -> int:
        """Seeds of the base that has fewest."""
        return min(len(member.drops) for member in self.members)

    @property
    def decades(self) -> Floats:
        """The decimal logarithm of each size."""
        return np.log10([member.size for member in self.members])

    @cached_property
    def mean(self) -> Floats:
        """Mean drops `[members, ratios]`."""
        return np.stack([member.drops.mean(axis=0) for member in self.members])

    @cached_property
    def means(self) -> Floats:
        """The same in every resample `[resamples, members, ratios]`; seeds of each base are drawn by themselves."""
        generator = np.random.default_rng([self.settings.seed, *self.name.encode()])
        drawn = []
        for member in self.members:
            shares = resampling.weights(len(member.drops), self.settings.resamples, generator)
            drawn.append(resampling.means(shares, member.drops))
        return np.stack(drawn, axis=1)

    @cached_property
    def slopes(self) -> tuple[Floats, Floats]:
        """Points of drop per tenfold size at each ratio: `[ratios]`, and `[resamples, ratios]`."""
        return slopes(self.decades, self.mean), slopes(self.decades, self.means)

    # --- quantities --------------------------------------------------------------------------------------------------

    def quantities(self) -> dict[str, Quantity]:
        """By the names of the card."""
        found: dict[str, Quantity] = {}
        (slope, drawn), lacking = self.slopes, "all networks are of one size"
        linear = self._correlations(self.mean), self._correlations(self.means)
        for index, ratio in enumerate(self.ratios):
            found[f"slope@{ratio:g}"] = self._estimate(slope[index], drawn[:, index], PER_DECADE, lacking)
            r, resampled = (part[..., index] for part in linear)
            found[f"correlation@{ratio:g}"] = self._estimate(float(r), resampled, "", "drops or sizes are all alike")
            for number, member in enumerate(self.members):
                drops = self.mean[number, index], self.means[:, number, index]
                found[f"drop@{ratio:g}/{member.base}"] = self._estimate(*drops, POINTS)
        growth = slope[-1] - slope[0], drawn[:, -1] - drawn[:, 0]
        alone = len(self.ratios) < 2
        found["growth"] = self._estimate(np.nan if alone else growth[0], growth[1], PER_DECADE, "there is one ratio")
        return {f"{self.name}/{name}": quantity for name, quantity in found.items()}

    def _correlations(self, drops: Floats) -> Floats:
        return resampling.correlations(self.decades, np.swapaxes(drops, -1, -2))

    def _estimate(self, value: float, draws: Floats, unit: str, lacking: str = "") -> Quantity:
        return estimate(value, draws, self.count, self.settings.confidence, unit, lacking)


def slopes(x: Floats, y: Floats) -> Floats:
    """Slopes of least-squares lines of `y` `[..., points, curves]` over `x` `[points]`; NaN where x is constant."""
    centred = x - x.mean()
    spread = float(centred @ centred)
    along = np.tensordot(centred, y, axes=(0, -2))
    return along / spread if spread > 0 else np.full_like(along, np.nan)


def read_sizes(results: Results, name: str, settings: TrendSettings) -> Sizes | None:
    """A family's drops at the ratios that all of its bases have; None where fewer than two bases were evaluated.

    Raises `PruneryError` if a recipe states no ratio, or the bases have no ratio in common.
    """
    family, where = settings.families[name], f"analyse 'trend', families.{name}"
    tables = {base: _drops(results, base, family, settings, where) for base in _bases(results, family)}
    if len(tables) < 2:
        return None
    ratios = sorted(set.intersection(*(set(table.columns) for table in tables.values())))
    if not ratios:
        raise PruneryError(f"{where}: the bases have no ratio in common: prune them alike, with common seeds")
    members = [
        Member(base, float(results.by_recipe[base, DENSE][settings.size].mean()), table[ratios].dropna().to_numpy())
        for base, table in tables.items()
    ]
    if empty := [member.base for member in members if not len(member.drops)]:
        raise PruneryError(f"{where}: {empty[0]} has no seed at all ratios: give its recipes the same seeds")
    ordered = tuple(sorted(members, key=lambda member: (member.size, member.base)))
    return Sizes(name, settings, np.array(ratios), ordered)


def _bases(results: Results, family: SizedFamily) -> list[str]:
    found = [base for text in family.spelled((family.prune,)) for base, _ in results.matching(text)]
    return [base for base in dict.fromkeys(found) if (base, DENSE) in results.by_recipe]


def _drops(results: Results, base: str, family: SizedFamily, settings: TrendSettings, where: str) -> pd.DataFrame:
    """Percentage points lost, a row per seed and a column per ratio."""
    column = f"{settings.split}_accuracy"
    dense = percent(results.by_recipe[base, DENSE], column)
    rows = by_ratio(results.matching(f"{base}/{family.prune}"), where)
    return pd.DataFrame({ratio: dense - percent(each, column) for ratio, each in sorted(rows.items())})
