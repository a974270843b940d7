"""What analyses take from the table of replicas: accuracies by seed, recipes by their pruning ratio."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from prunery.errors import PruneryError
from prunery.reporting.results import DENSE, Results

Rows = Mapping[tuple[str, str], pd.DataFrame]


def percent(rows: pd.DataFrame, column: str) -> pd.Series[float]:
    """A column of shares, in percent, by seed."""
    return pd.Series(100 * rows[column].to_numpy(dtype=float), index=rows["seed"].to_numpy())


def by_ratio(rows: Rows, where: str) -> dict[float, pd.DataFrame]:
    """The recipes of one base by the number behind `@` of their last pruning step.

    Raises `PruneryError`, begun with `where`, if a recipe states none, or two have the same.
    """
    found: dict[float, pd.DataFrame] = {}
    told: dict[float, str] = {}
    for (_, recipe), each in rows.items():
        ratio = float(each["prune_amount"].iloc[0])
        if np.isnan(ratio):
            raise PruneryError(f"{where}: {recipe} states no ratio: write @ and a number")
        if ratio in told:
            raise PruneryError(f"{where}: {told[ratio]} and {recipe} have the same ratio: make families of them")
        found[ratio], told[ratio] = each, recipe
    return found


def only_base(results: Results, spellings: list[str], where: str) -> str | None:
    """The base that the spellings stand for among what was evaluated; None if there is none.

    Raises `PruneryError`, begun with `where`, if there are several.
    """
    bases = list(dict.fromkeys(base for text in spellings for base, recipe in results.matching(text)))
    if len(bases) > 1:
        raise PruneryError(f"{where}: it stands for the bases {', '.join(bases)}: make a family of each")
    return bases[0] if bases and (bases[0], DENSE) in results.by_recipe else None
