"""One architecture: proxies, budgets and losses of its recipes, and how they go together, with resampled seeds."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from prunery.findings import Quantity
from prunery.reporting import resampling
from prunery.reporting.estimates import estimate

from . import POOLED

if TYPE_CHECKING:
    from . import ProxySettings

Floats = NDArray[np.float64]
Means = tuple[Floats, Floats]
"""Means over seeds, and the same in every resample."""
FEWEST = 3
"""Recipes, or layers, below which a correlation says nothing."""
FEW = f"needs {FEWEST} recipes that are not all alike"
ROUNDING = 1e-6
"""By how much, relative to it, a loss may exceed its budget."""


@dataclass(frozen=True)
class Audit:
    """Figures of a family's recipes, each `[seeds, recipes]`; drops are percentage points, rises cross-entropy.

    `budgets` and `rises` are `[seeds, 0]` where no budgets were computed; `exact` tells whether all of them are
    certificates. `edges` are correlations over layers by seed, `[0]` if they were not asked for.
    """

    name: str
    settings: ProxySettings
    recipes: tuple[str, ...]
    drops: Floats
    proxies: Floats
    budgets: Floats
    rises: Floats
    exact: bool
    edges: Floats

    @property
    def count(self) -> int:
        """Seeds."""
        return len(self.drops)

    @cached_property
    def shares(self) -> Floats:
        """Resampled seeds."""
        generator = np.random.default_rng([self.settings.seed, *self.name.encode()])
        return resampling.weights(self.count, self.settings.resamples, generator)

    def means(self, values: Floats) -> Means:
        """Of figures `[seeds, ...]`."""
        return values.mean(axis=0), resampling.means(self.shares, values)

    def quantities(self) -> dict[str, Quantity]:
        """By the names of the card."""
        drops = self.means(self.drops)
        found = correlated("proxy_drop", self.means(self.proxies), drops, self.count, self.settings)
        if self.budgets.size:
            found |= correlated("budget_drop", self.means(self.budgets), drops, self.count, self.settings)
            found |= self._exceeded()
        if self.edges.size:
            value, drawn = self.means(self.edges)
            lacking = f"needs {FEWEST} layers with a fitted spectrum"
            found["edge_proxy_r"] = estimate(float(value), drawn, self.count, self.settings.confidence, lacking=lacking)
        return {f"{self.name}/{name}": quantity for name, quantity in found.items()}

    def _exceeded(self) -> dict[str, Quantity]:
        """Networks whose loss changed by more than their budget, which certificates never let happen."""
        changes, word = np.abs(self.rises), "" if self.exact else "_sampled"
        beyond, compared = int((changes > self.budgets * (1 + ROUNDING)).sum()), self.rises.size
        share = np.divide(changes, self.budgets, out=np.zeros_like(changes), where=self.budgets > 0)
        facts = {"exceeded": beyond, "compared": compared, "most_spent": float(share.max())}
        return {
            f"{name}{word}": Quantity(value=value, low=value, high=value, count=self.count)
            for name, value in facts.items()
        }


def correlated(name: str, x: Means, y: Means, count: int, settings: ProxySettings) -> dict[str, Quantity]:
    """Pearson's r and Spearman's rho of two figures over recipes."""
    if len(x[0]) < FEWEST:
        return {f"{name}_{kind}": Quantity(count=count, reason=FEW) for kind in ("r", "rho")}
    ranks = [[stats.rankdata(part, axis=-1) for part in side] for side in (x, y)]
    found = {}
    for kind, sides in (("r", (x, y)), ("rho", ranks)):
        value, drawn = (resampling.correlations(a, b) for a, b in zip(*sides, strict=True))
        found[f"{name}_{kind}"] = estimate(float(value), drawn, count, settings.confidence, lacking=FEW)
    return found


def pooled(audits: list[Audit]) -> dict[str, Quantity]:
    """Correlations over the recipes of all families together; seeds of each are drawn by themselves."""
    found: dict[str, Quantity] = {}
    for figure, told in (("proxies", "proxy_drop"), ("budgets", "budget_drop")) if len(audits) > 1 else ():
        if all(getattr(audit, figure).size for audit in audits):
            x, y = (_joined([audit.means(getattr(audit, each)) for audit in audits]) for each in (figure, "drops"))
            found |= correlated(told, x, y, min(audit.count for audit in audits), audits[0].settings)
    return {f"{POOLED}/{name}": quantity for name, quantity in found.items()}


def _joined(parts: list[Means]) -> Means:
    return np.concatenate([mean for mean, _ in parts]), np.concatenate([drawn for _, drawn in parts], axis=-1)
