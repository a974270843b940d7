"""One cell of a table: a figure of a recipe or of a layer, with its interval."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from prunery.errors import PruneryError, unknown
from prunery.findings import Quantity
from prunery.recipe import expand
from prunery.reporting.estimates import ONE_SEED
from prunery.reporting.results import DENSE, Results
from prunery.reporting.statistics import mean_interval

if TYPE_CHECKING:
    from . import Column, Layers, Recipes, Statistic

Floats = NDArray[np.float64]


def of_recipe(results: Results, table: Recipes, row: str, column: Column) -> Quantity:
    """A column's figure of a row: the mean over seeds, or what the bench found; missing where nothing is known."""
    base, steps = _recipe(table.rows[row])
    if column.bench:
        return _timed(_rows(results.bench, base, steps), column)
    values = _by_seed(results, table.rows[row], column)
    if column.minus is not None and column.off(row) is None:
        return Quantity(reason="nothing is taken off")
    if (other := column.off(row)) and not values.empty:
        values = (values - _by_seed(results, table.rows[other], column)).dropna()
    if values.empty:
        return Quantity(reason=f"no {column.metric}" if len(_rows(results.replicas, base, steps)) else "not evaluated")
    return mean(np.asarray(values, dtype=np.float64))


def _recipe(spelled: str) -> tuple[str, str]:
    """Base and steps."""
    base, _, steps = expand(spelled)[0].partition("/")
    return base, steps


def _by_seed(results: Results, recipe: str, column: Column) -> pd.Series[float]:
    """The column's metric by seed; empty where a replica lacks it."""
    rows = _rows(results.replicas, *_recipe(recipe))
    if not rows.empty:
        chosen = column.evaluate or rows["evaluate"].iloc[0]
        rows = rows[rows["evaluate"] == chosen].drop_duplicates("seed")
    if rows.empty or column.metric not in rows or rows[column.metric].isna().any():
        return pd.Series(dtype=float)
    return rows.set_index("seed")[column.metric].astype(float) * column.factor


def _rows(table: pd.DataFrame, base: str, steps: str) -> pd.DataFrame:
    return table if table.empty else table[(table["base"] == base) & (table["recipe"] == (steps or DENSE))]


def _timed(rows: pd.DataFrame, column: Column) -> Quantity:
    """The figure of one backend, with the interval of the measurement; sizes without one have none."""
    held = rows if rows.empty else rows[(rows["bench"] == column.bench) & (rows["backend"] == column.backend)]
    if held.empty or held.iloc[0]["status"] != "ok" or column.metric not in held:
        return Quantity(reason="not timed" if held.empty else str(held.iloc[0]["status"]))
    row = held.iloc[0]
    ends = [row.get(f"{column.metric}_{end}") for end in ("low", "high")]
    low, high = (None if end is None or pd.isna(end) else float(end) * column.factor for end in ends)
    return Quantity(value=float(row[column.metric]) * column.factor, low=low, high=high)


def of_layer(results: Results, table: Layers, key: str, column: Statistic, where: str) -> Quantity:
    """A column's figure of a layer: the mean over seeds; missing where the calibration was not made.

    Raises `PruneryError`, begun with `where`, for a layer or statistic that the calibration lacks.
    """
    wanted = expand(table.recipe)[0]
    for (path, variant), seeds in results.calibrations.items():
        base, _, *steps = path.split("/")
        if variant == table.calibrate and "/".join([base, *steps]) == wanted:
            values = np.array([_value(rows, key, column, where) for rows in seeds.values()])
            return mean((np.sqrt(values) if column.root else values) * column.factor)
    return Quantity(reason="not measured")


def _value(rows: dict[str, dict[str, Floats]], key: str, column: Statistic, where: str) -> float:
    if key not in rows:
        raise PruneryError(f"{where}: {unknown('layer', key, rows)}")
    row = rows[key]
    for name in (column.statistic, *([column.along] if column.at is not None else [])):
        if name not in row:
            raise PruneryError(f"{where}, layer {key}: {unknown('statistic', name, row)}")
    found = row[column.statistic]
    if column.at is None:
        if found.size != 1:
            raise PruneryError(f"{where}: {column.statistic} of {key} holds {found.size} values: say which, by at")
        return float(found.reshape(()))
    places = np.flatnonzero(np.isclose(row[column.along], column.at))
    if not len(places):
        known = ", ".join(f"{value:g}" for value in row[column.along])
        raise PruneryError(f"{where}: {column.along} of {key} is never {column.at:g}: it has {known}")
    return float(found[places[0]])


def mean(values: Floats) -> Quantity:
    """The mean over seeds with its t interval."""
    found = mean_interval(values)
    reason = ONE_SEED if found.count == 1 else ""
    return Quantity(value=found.mean, low=found.low, high=found.high, count=found.count, reason=reason)
