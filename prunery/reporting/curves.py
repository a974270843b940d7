"""Learning curves as Plotly figures: mean over seeds and its interval, epoch by epoch."""

from __future__ import annotations

from collections.abc import Collection, Iterator

import numpy as np
import pandas as pd

from prunery.reporting.figures import Figure
from prunery.reporting.results import Results
from prunery.reporting.statistics import rounded, t_reach

CURVES = tuple(f"{split}_{quantity}" for split in ("train", "validation") for quantity in ("loss", "accuracy"))


def curve_figures(results: Results, paths: Collection[str]) -> dict[str, dict[str, Figure]]:
    """path -> `loss` and `accuracy` -> mean over seeds and its interval, epoch by epoch."""
    if results.history.empty:
        return {}
    held = results.history[results.history["path"].isin(paths)]
    columns = [name for name in CURVES if name in held]
    table = held.groupby(["path", "epoch"])[columns].agg(["mean", "std", "count"])
    return {
        str(path): {quantity: _curves(rows.droplevel("path"), quantity) for quantity in ("loss", "accuracy")}
        for path, rows in table.groupby("path")
    }


def _curves(rows: pd.DataFrame, quantity: str) -> Figure:
    """From the mean, deviation and count of each column by epoch."""
    data: list[Figure] = []
    for split, colour in (("train", "var(--train)"), ("validation", "var(--validation)")):
        column = f"{split}_{quantity}"
        if column in rows and rows[column]["count"].any():
            data += _band(rows[column][rows[column]["count"] > 0], split, colour)
    layout = {
        "xaxis": {"title": {"text": "epoch"}},
        "yaxis": {"title": {"text": quantity}, "tickformat": ".0%" if quantity == "accuracy" else ""},
        "hovermode": "x unified",
        "legend": {"orientation": "h", "y": 1.12, "x": 0},
    }
    return {"data": data, "layout": layout}


def _band(rows: pd.DataFrame, name: str, colour: str) -> Iterator[Figure]:
    x, count = [int(epoch) for epoch in rows.index], rows["count"].to_numpy()
    reach = np.nan_to_num(rows["std"] / np.sqrt(count)) * [t_reach(int(each)) for each in count]
    low, high = (rounded(rows["mean"] + sign * reach) for sign in (-1, 1))
    yield {
        "type": "scatter", "mode": "lines", "x": [*x, *reversed(x)], "y": [*high, *reversed(low)], "fill": "toself",
        "fillcolor": colour, "opacity": 0.18, "line": {"width": 0}, "hoverinfo": "skip", "showlegend": False,
    }  # fmt: skip
    yield {
        "type": "scatter", "mode": "lines", "name": name, "x": x, "y": rounded(rows["mean"]),
        "line": {"width": 2, "color": colour}, "hovertemplate": "%{y:.4g}",
    }  # fmt: skip
