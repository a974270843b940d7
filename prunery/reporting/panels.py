"""Parts of the figures that analyses draw. Colours are the report's CSS variables."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prunery.reporting.statistics import rounded

Figure = dict[str, Any]
Floats = NDArray[np.float64]
COLOURS = ("var(--pruned)", "var(--quantized)", "var(--further)", "var(--both)", "var(--law)", "var(--edge)")
"""Colours of curves that have no meaning of their own, one after the other."""


def accuracy_figure(data: list[Figure], xaxis: Figure, legend: bool = True, **layout: Any) -> Figure:
    """Accuracy, in percent, over something."""
    standard = {
        "xaxis": xaxis,
        "yaxis": {"title": {"text": "accuracy, %"}},
        "hovermode": "x unified" if legend else "closest",
        "showlegend": legend,
        "legend": {"orientation": "h", "y": 1.14, "x": 0},
    }
    return {"data": data, "layout": standard | layout}


def line(x: Floats, y: Floats, name: str, colour: str, width: float = 2, dash: str = "solid") -> Figure:
    """Points and what joins them."""
    return {
        "type": "scatter", "mode": "lines+markers", "name": name, "x": rounded(x), "y": rounded(y),
        "line": {"width": width, "color": colour, "dash": dash}, "marker": {"size": 2.5 * width, "color": colour},
        "hovertemplate": "%{y:.2f}",
    }  # fmt: skip


def band(x: Floats, mean: Floats, std: Floats, name: str, colour: str) -> Iterator[Figure]:
    """A mean and a standard deviation to either side of it; where that is NaN the band has no width."""
    reach = np.nan_to_num(std)
    yield {
        "type": "scatter", "mode": "lines", "x": rounded([*x, *x[::-1]]),
        "y": rounded([*(mean + reach), *(mean - reach)[::-1]]), "fill": "toself", "fillcolor": colour, "opacity": 0.16,
        "line": {"width": 0}, "hoverinfo": "skip", "showlegend": False,
    }  # fmt: skip
    yield line(x, mean, name, colour)


def shade(start: float, end: float, colour: str) -> Figure:
    """A shaded part of the axis, from top to bottom."""
    return {
        "type": "rect", "xref": "x", "yref": "paper", "x0": start, "x1": end, "y0": 0, "y1": 1, "layer": "below",
        "fillcolor": colour, "opacity": 0.1, "line": {"width": 0},
    }  # fmt: skip


def level(value: float) -> Figure:
    """A dashed level line, such as a paper's number or chance."""
    place = {"xref": "paper", "yref": "y", "x0": 0, "x1": 1, "y0": value, "y1": value}
    return {"type": "line", **place, "line": {"color": "var(--edge)", "dash": "dash", "width": 1.5}}
