"""An architecture's figures, out of the tables of results."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from prunery.reporting import resampling
from prunery.reporting.results import DENSE, Results
from prunery.reporting.rows import only_base, percent

from .audit import FEWEST, Audit, Floats

if TYPE_CHECKING:
    from . import ProxySettings

SAMPLED = "_sampled"
"""Behind the names of figures that are no certificates."""


def read_audit(results: Results, name: str, settings: ProxySettings) -> Audit | None:
    """A family's figures; None where a recipe, or all of them, has no certificate beside its accuracy.

    Raises `PruneryError` if the family has several bases.
    """
    family = settings.families[name]
    base = only_base(results, family.recipes(), f"analyse 'proxy', families.{name}")
    if base is None:
        return None
    rows = {key: each for step in family.steps for key, each in results.matching(f"{base}/{step}").items()}
    dense = percent(results.by_recipe[base, DENSE], f"{settings.split}_accuracy")
    frames = {recipe: _figures(results, each, dense, settings) for (_, recipe), each in rows.items()}
    if not frames or not all("proxy" in frame for frame in frames.values()):
        return None
    table = pd.concat(frames, axis=1).dropna()
    if table.empty:
        return None
    found = {each: _of_each(table, list(frames), each) for each in ("drop", "proxy", "budget", "rise")}
    exact = all(
        f"{settings.split}_budget{SAMPLED}" not in _certificate(results, each, settings) for each in rows.values()
    )
    edges = _edges(results, base, list(rows.values()), list(table.index), settings)
    return Audit(
        name, settings, tuple(frames), found["drop"], found["proxy"], found["budget"], found["rise"], exact, edges
    )


def _figures(results: Results, rows: pd.DataFrame, dense: pd.Series[float], settings: ProxySettings) -> pd.DataFrame:
    """One recipe's drop, proxy, budget and rise of the loss by seed; no column for what was not computed."""
    told, split = _certificate(results, rows, settings), settings.split
    found = pd.DataFrame({"drop": dense - percent(rows, f"{split}_accuracy")})
    budgets = [told[name] for name in (f"{split}_budget", f"{split}_budget{SAMPLED}") if name in told]
    if budgets:
        found["budget"], found["rise"] = budgets[0].fillna(budgets[-1]), told[f"{split}_loss_change"]
    return found.assign(proxy=told[f"{split}_proxy"]) if f"{split}_proxy" in told else found


def _certificate(results: Results, rows: pd.DataFrame, settings: ProxySettings) -> pd.DataFrame:
    """The certificate of the network that these rows are of, by seed, without columns that it does not have."""
    every = results.replicas
    mine = every[(every["path"] == rows["path"].iloc[0]) & (every["evaluate"] == settings.certificate)]
    return mine.set_index("seed").dropna(axis=1, how="all")


def _of_each(table: pd.DataFrame, recipes: list[str], figure: str) -> Floats:
    """`[seeds, recipes]`; `[seeds, 0]` unless every recipe has the figure."""
    columns = [(recipe, figure) for recipe in recipes]
    if not all(column in table for column in columns):
        return np.zeros((len(table), 0))
    return table[columns].to_numpy(dtype=float)


def _edges(
    results: Results, base: str, recipes: list[pd.DataFrame], seeds: list[int], settings: ProxySettings
) -> Floats:
    """Pearson's r, over layers, of the dense network's squared edge with the proxy: by seed, a mean over recipes."""
    dense = str(results.by_recipe[base, DENSE]["path"].iloc[0])
    fits = results.spectra.get((dense, settings.fit or ""), {})
    every, column = results.layers, f"{settings.split}_proxy"
    if not fits or column not in every:
        return np.zeros(0)
    mine = every[every["evaluate"] == settings.certificate]
    found = np.full((len(seeds), len(recipes)), np.nan)
    for row, seed in enumerate(seeds):
        edges = {key: fit["sigma_plus"] ** 2 for key, fit in fits.get(str(seed), {}).items() if "sigma_plus" in fit}
        for number, each in enumerate(recipes):
            layers = mine[(mine["path"] == each["path"].iloc[0]) & (mine["seed"] == seed)]
            proxies = layers.set_index("key")[column].dropna()
            both = [key for key in proxies.index if key in edges]
            if len(both) >= FEWEST:
                squares = np.array([edges[key] for key in both])
                found[row, number] = resampling.correlations(squares, proxies[both].to_numpy(dtype=float))
    return np.asarray(found.mean(axis=1))
