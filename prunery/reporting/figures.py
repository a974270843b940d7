"""Plotly figures as plain dictionaries. Colours are CSS variables, resolved by the page to its light or dark theme."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from prunery.reporting.results import DENSE
from prunery.reporting.statistics import marchenko_pastur, pareto_front, rounded
from prunery.reporting.summary import Line, Speed, size_text

Figure = dict[str, Any]
Point = tuple[Line, float, "Speed | None", str]

FAMILIES = {
    DENSE: ("var(--dense)", "star"),
    "trained further": ("var(--further)", "triangle-up"),
    "pruned": ("var(--pruned)", "circle"),
    "quantized": ("var(--quantized)", "square"),
    "pruned + quantized": ("var(--both)", "diamond"),
}
"""Colour and shape of what was done to a network."""

CURVE_POINTS = 120
"""Points at which a fitted density is drawn."""


# --- accuracy against cost -------------------------------------------------------------------------------------------

COSTS = {"bits": ("size as stored (KiB)", 1 / 8 / 1024), "macs": ("MACs per sample (thousands; not a speed)", 1e-3)}
"""Costs that a network has by itself: title and factor."""


def pareto_figures(lines: list[Line]) -> dict[str, dict[str, Figure]]:
    """base -> cost (`bits`, `macs`, `latency:<backend>`) -> test accuracy against that cost."""
    figures: dict[str, dict[str, Figure]] = {}
    for base in dict.fromkeys(line.base for line in lines):
        group = [line for line in lines if line.base == base]
        figures[base] = {cost: _size_figure(group, cost, *COSTS[cost]) for cost in COSTS}
        figures[base] |= {f"latency:{backend}": _latency_figure(group, backend) for backend in timed_backends(group)}
    return figures


def timed_backends(lines: list[Line]) -> list[str]:
    """The backends that have times, those with most of them first."""
    return [backend for backend, _ in Counter(speed.backend for line in lines for speed in line.speeds).most_common()]


def _size_figure(lines: list[Line], cost: str, title: str, factor: float) -> Figure:
    held = [line for line in lines if cost in line.sizes]
    points: list[Point] = [(line, line.sizes[cost] * factor, None, _hover(line)) for line in held]
    return _pareto(points, title)


def _latency_figure(lines: list[Line], backend: str) -> Figure:
    points: list[Point] = []
    for line in lines:
        for speed in line.speeds:
            if speed.backend == backend:
                points.append((line, speed.latency[0], speed, _hover(line) + _timing(speed)))
    points += _dense_point(lines, [speed for _, _, speed, _ in points if speed is not None])
    batch = {speed.batch for line in lines for speed in line.speeds if speed.backend == backend}
    unit = f"ms per batch of {batch.pop()}" if len(batch) == 1 else "ms per batch"
    return _pareto(points, f"latency on {backend} ({unit})")


def _dense_point(lines: list[Line], timed: list[Speed]) -> list[Point]:
    """The dense network where it was timed beside the others only: at its median latency among those."""
    dense = next((line for line in lines if line.recipe == DENSE), None)
    if dense is None or not timed or any(speed.backend == timed[0].backend for speed in dense.speeds):
        return []
    middle = sorted(timed, key=lambda speed: speed.reference[0])[(len(timed) - 1) // 2]
    beside = replace(middle, precision=middle.reference_precision, latency=middle.reference, speedup=middle.control)
    low, high = beside.latency[1:]
    told = f"<br>{beside.latency[0]:.4g} ms [{low:.4g}, {high:.4g}] {beside.precision}, timed beside the others"
    return [(dense, beside.latency[0], beside, _hover(dense) + told)]


def _hover(line: Line) -> str:
    sizes = [size_text(line.sizes["bits"])] if "bits" in line.sizes else []
    sizes += [f"{line.sizes['macs']:,.0f} MACs"] if "macs" in line.sizes else []
    recipe = line.recipe.replace("/", "<br>/")
    return f"<b>{recipe}</b><br>test accuracy {line.accuracy}<br>{' · '.join(sizes)}"


def _timing(speed: Speed) -> str:
    low, high = speed.latency[1:]
    return (
        f"<br>{speed.latency[0]:.4g} ms [{low:.4g}, {high:.4g}] {speed.precision}"
        f"<br>{speed.speedup[0]:.2f}x the dense network in {speed.reference_precision}"
    )


def _pareto(points: list[Point], title: str) -> Figure:
    front = pareto_front([cost for _, cost, _, _ in points], [line.test.mean for line, *_ in points])
    data = [_front([points[index] for index in front])]
    for family, (colour, symbol) in FAMILIES.items():
        members = [point for point in points if point[0].family == family]
        if members:
            data.append(_family(members, family, colour, symbol))
    layout = {
        "xaxis": {"title": {"text": title}, "rangemode": "tozero"},
        "yaxis": {"title": {"text": "test accuracy (mean over seeds)"}, "tickformat": ".1%"},
        "showlegend": False,
        "hovermode": "closest",
    }
    return {"data": data, "layout": layout}


def _front(points: list[Point]) -> Figure:
    return {
        "type": "scatter", "mode": "lines+markers", "name": "Pareto front", "hoverinfo": "skip",
        "x": rounded(cost for _, cost, _, _ in points), "y": rounded(line.test.mean for line, *_ in points),
        "line": {"shape": "hv", "width": 1.5, "color": "var(--front)", "dash": "dot"},
        "marker": {"size": 17, "symbol": "circle-open", "color": "var(--front)", "line": {"width": 1.5}},
    }  # fmt: skip


def _family(points: list[Point], family: str, colour: str, symbol: str) -> Figure:
    bars = {"thickness": 1, "width": 0, "color": colour}
    trace: Figure = {
        "type": "scatter", "mode": "markers", "name": family,
        "x": rounded(cost for _, cost, _, _ in points), "y": rounded(line.test.mean for line, *_ in points),
        "error_y": {"type": "data", "array": rounded(line.test.half_width for line, *_ in points), **bars},
        "text": [hover for *_, hover in points], "customdata": [line.path for line, *_ in points],
        "hovertemplate": "%{text}<extra></extra>",
        "marker": {"size": 9, "symbol": symbol, "color": colour, "line": {"width": 1, "color": "var(--surface)"}},
    }  # fmt: skip
    speeds = [speed for _, _, speed, _ in points if speed is not None]
    if speeds:
        above = rounded(speed.latency[2] - speed.latency[0] for speed in speeds)
        below = rounded(speed.latency[0] - speed.latency[1] for speed in speeds)
        trace["error_x"] = {"type": "data", "symmetric": False, "array": above, "arrayminus": below, **bars}
    return trace


# --- spectra ---------------------------------------------------------------------------------------------------------


def spectrum_figure(fit: dict[str, Any]) -> Figure:
    """A fitted layer's eigenvalues as a density, the Marchenko-Pastur law, its edge, and the spikes beyond."""
    counts = np.asarray(fit["histogram"], dtype=np.float64)
    first, last = fit["histogram_edges"]
    edges = np.linspace(first, last, len(counts) + 1)
    total = counts.sum() + fit["histogram_beyond"]
    heights = counts / (np.diff(edges) * max(total, 1))
    law = _law(fit)
    top = max(float(heights.max(initial=0)), *law["y"])
    data = [_bars(edges, heights, counts), law, _edge(float(fit["lambda_plus"]), top), *_spikes(fit)]
    layout = {
        "xaxis": {"title": {"text": "eigenvalue of W Wᵀ / n"}, "range": rounded([first, 1.04 * last])},
        "yaxis": {"title": {"text": "density"}, "range": rounded([-0.06 * top, 1.08 * top])},
        "bargap": 0,
        "legend": {"orientation": "h", "y": 1.12, "x": 0},
    }
    return {"data": data, "layout": layout}


def _bars(edges: Any, heights: Any, counts: Any) -> Figure:
    return {
        "type": "bar", "name": "eigenvalues", "x": rounded((edges[1:] + edges[:-1]) / 2), "y": rounded(heights),
        "width": rounded(np.diff(edges)), "customdata": [int(count) for count in counts],
        "marker": {"color": "var(--bulk)", "line": {"width": 0}},
        "hovertemplate": "%{customdata} near %{x:.4g}<extra></extra>",
    }  # fmt: skip


def _law(fit: dict[str, Any]) -> Figure:
    """The density of the fitted law, scaled by the share of eigenvalues that belong to the bulk."""
    gamma, variance = float(fit["gamma"]), float(fit["sigma_hat"]) ** 2
    low, high = (variance * (1 + sign * gamma**0.5) ** 2 for sign in (-1, 1))
    # The density rises and falls like a square root: points that crowd at both ends draw it smoothly.
    angles = np.linspace(0, np.pi, CURVE_POINTS)
    x = low + (high - low) * (1 - np.cos(angles)) / 2
    y = marchenko_pastur(x, gamma, variance) * float(fit["bulk_fraction"])
    return {
        "type": "scatter", "mode": "lines", "name": "fitted Marchenko-Pastur law", "x": rounded(x), "y": rounded(y),
        "line": {"width": 2.5, "color": "var(--law)"}, "hoverinfo": "skip",
    }  # fmt: skip


def _edge(place: float, top: float) -> Figure:
    return {
        "type": "scatter", "mode": "lines", "name": "edge λ₊", "x": rounded([place, place]), "y": rounded([0, top]),
        "line": {"width": 1.5, "dash": "dash", "color": "var(--edge)"}, "hovertemplate": "edge %{x:.4g}<extra></extra>",
    }  # fmt: skip


def _spikes(fit: dict[str, Any]) -> Iterator[Figure]:
    """The largest spikes on the axis; those right of the histogram come into view by zooming out."""
    spikes = rounded(fit["largest"][: fit["spikes"]])
    if spikes:
        yield {
            "type": "scatter", "mode": "markers", "name": "spikes", "x": spikes, "y": [0.0] * len(spikes),
            "marker": {"symbol": "triangle-up", "size": 11, "color": "var(--spike)"},
            "hovertemplate": "spike %{x:.4g}<extra></extra>",
        }  # fmt: skip
