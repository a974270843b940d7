"""What the page shows of fitted spectra: each network layer by layer, and each layer by itself."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from prunery.reporting.figures import Figure, spectrum_figure
from prunery.reporting.results import Results
from prunery.reporting.statistics import Interval, clipped, mean_interval, rounded

FIT_COLUMNS = ("sigma_plus", "fit_error", "bulk_fraction", "spikes", "spike_mass", "hill")

Seeds = dict[str, dict[str, Any]]
"""Seed -> key -> figures."""


def spectra(results: Results) -> list[dict[str, Any]]:
    """One entry for each fitted network: figures over its layers and of each of them, a table of means over seeds."""
    return [
        {
            "title": f"{path} ({variant})",
            "network": network_figures(seeds),
            "figures": {key: _by_seed(seeds, key) for key in _keys(seeds)},
            "reasons": {key: _reason(seeds, key) for key in _keys(seeds)},
            "columns": FIT_COLUMNS,
            "rows": {key: [_mean(seeds, key, column) for column in FIT_COLUMNS] for key in _keys(seeds)},
        }
        for (path, variant), seeds in results.spectra.items()
    ]


def _keys(seeds: Seeds) -> list[str]:
    return list(dict.fromkeys(key for layers in seeds.values() for key in layers))


def _by_seed(seeds: Seeds, key: str) -> dict[str, Any]:
    """A figure for each seed whose layer was fitted."""
    held = sorted(seeds, key=int)
    return {seed: spectrum_figure(seeds[seed][key]) for seed in held if seeds[seed].get(key, {}).get("fitted")}


def _reason(seeds: Seeds, key: str) -> str:
    return next((str(layers[key]["reason"]) for layers in seeds.values() if layers.get(key, {}).get("reason")), "")


def _values(seeds: Seeds, key: str, column: str) -> list[float]:
    return [layers[key][column] for layers in seeds.values() if layers.get(key, {}).get(column) is not None]


def _mean(seeds: Seeds, key: str, column: str) -> float | None:
    values = _values(seeds, key, column)
    return rounded([mean_interval(values).mean])[0] if values else None


# --- layer by layer --------------------------------------------------------------------------------------------------


class Quantity(NamedTuple):
    """What one figure shows: a column of the rows, none of whose values exceeds `highest`."""

    column: str
    title: str
    colour: str
    highest: float = math.inf
    ticks: str = ""


OVERVIEW = {
    "edges": Quantity("sigma_plus", "edge of the bulk", "var(--edge)"),
    "bulk": Quantity("bulk_fraction", "share of the bulk", "var(--law)", 1.0, ".0%"),
    "spikes": Quantity("spikes", "spikes", "var(--spike)"),
}
"""The figures of a network."""


def network_figures(seeds: Seeds) -> dict[str, Figure]:
    """Edge, share of the bulk and number of spikes by layer: means over seeds and their intervals.

    Parts of a layer's weight (`key[q]`) stand where the layer does. Layers without a fit leave a gap.
    """
    places = {key: next(rows[key]["place"] for rows in seeds.values() if key in rows) for key in _keys(seeds)}
    keys = sorted(places, key=lambda key: (places[key], len(key)))
    whole = {places[key]: key for key in reversed(keys)}  # of one place, the shortest key is that of the weight
    layers, parts = ([key for key in keys if (whole[places[key]] == key) is wanted] for wanted in (True, False))
    return {name: _over_layers(seeds, places, layers, parts, told) for name, told in OVERVIEW.items()}


def _over_layers(seeds: Seeds, places: dict[str, int], keys: list[str], parts: list[str], told: Quantity) -> Figure:
    data = [_trace(seeds, places, keys, told) | {"name": "layers", **_marked("lines+markers", 7, told.colour)}]
    if parts:
        looks = _marked("markers", 5, "var(--further)")
        data.append(_trace(seeds, places, parts, told) | {"name": "parts of attention", **looks})
    layout = {
        "xaxis": {"title": {"text": "layer, in order"}, "range": [0.4, len(keys) + 0.6], "tickformat": "d"},
        "yaxis": {"title": {"text": told.title}, "rangemode": "tozero", "tickformat": told.ticks},
        "showlegend": bool(parts),
        "legend": {"orientation": "h", "y": 1.14, "x": 0},
    }
    return {"data": data, "layout": layout}


def _marked(mode: str, size: int, colour: str) -> Figure:
    return {"mode": mode, "line": {"width": 1.5, "color": colour}, "marker": {"size": size, "color": colour}}


def _trace(seeds: Seeds, places: dict[str, int], keys: list[str], told: Quantity) -> Figure:
    """The rows that have this figure."""
    found = {
        key: clipped(mean_interval(values), 0.0, told.highest)
        for key in keys
        if (values := _values(seeds, key, told.column))
    }
    above = rounded(_arm(each, each.high) for each in found.values())
    below = rounded(_arm(each, each.low) for each in found.values())
    return {
        "type": "scatter", "x": [places[key] + 1 for key in found], "y": rounded(each.mean for each in found.values()),
        "error_y": {"type": "data", "symmetric": False, "array": above, "arrayminus": below, "width": 0},
        "customdata": list(found), "hovertemplate": "%{customdata}: %{y:.4g}<extra></extra>",
    }  # fmt: skip


def _arm(interval: Interval, end: float | None) -> float:
    """How far an end of the interval lies from its mean; 0 where a single value has no interval."""
    return 0.0 if end is None else abs(end - interval.mean)
