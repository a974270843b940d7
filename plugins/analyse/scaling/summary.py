"""All curves and laws together, as findings."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from prunery.families import absent_notes
from prunery.findings import Cell, Chart, Findings, Quantity, Table
from prunery.reporting.estimates import NONE, quantity_text
from prunery.reporting.panels import COLOURS, Figure, accuracy_figure, band, line
from prunery.reporting.statistics import rounded

from .curve import Curve, read_curve

if TYPE_CHECKING:
    from prunery.reporting.results import Results

    from . import ScalingSettings

UNITS = {"bits_per_parameter": "bits as stored per parameter of the dense network", "bits": "bits as stored"}
POINTS = 60
"""Points at which a law is drawn."""


def findings(results: Results, settings: ScalingSettings) -> Findings:
    """Tables, figures and quantities of every family that was evaluated; a note names the others."""
    made = {name: read_curve(results, name, settings) for name in settings.families}
    curves = [curve for curve in made.values() if curve]
    found: dict[str, Quantity] = {}
    for curve in curves:
        found |= curve.quantities()
    return Findings(
        title="Accuracy and bits",
        notes=[*_notes(curves), *absent_notes(name for name, curve in made.items() if not curve)],
        tables=[_laws(curves, found), *map(_sizes, curves)] if curves else [],
        figures=[Chart(title="Accuracy against bits, and the better law", figure=_figure(curves))] if curves else [],
        quantities=found,
    )


def _notes(curves: list[Curve]) -> list[str]:
    if not curves:
        return []
    return [
        "Two laws are fitted to the means by least squares: a + b log2(x), and A - B x^(-c), which saturates at A. "
        "Akaike's criterion, corrected for few values, compares them over all replicas: smaller is better, a "
        "difference of 2 is little, of 10 much. Intervals come from resampled seeds."
    ]


def _laws(curves: list[Curve], found: dict[str, Quantity]) -> Table:
    columns = [
        "Family", "Recipes", "Seeds", "Accuracy at fewest bits, %", "Span, points", "Points per doubling", "Exponent c",
        "Saturation A, %", "AIC: logarithm - power law", "Better law",
    ]  # fmt: skip
    return Table(title="Laws of accuracy over bits", columns=columns, rows=[_row(curve, found) for curve in curves])


def _row(curve: Curve, found: dict[str, Quantity]) -> list[Cell]:
    names = ("fewest_bits_accuracy", "span", "log_slope", "power_exponent", "saturation", "aic_difference")
    told = [quantity_text(found[f"{curve.name}/{name}"], digits=2) for name in names]
    return [curve.name, len(curve.recipes), curve.count, *told, better(curve) or NONE]


def better(curve: Curve) -> str | None:
    """The law with the smaller criterion; the only one where one can be fitted."""
    known = {law: float(curve.criteria(law)[0]) for law in curve.fits}
    return min(known, key=lambda law: (not np.isfinite(known[law]), known[law])) if known else None


def _sizes(curve: Curve) -> Table:
    rows: list[list[Cell]] = [
        [recipe, f"{size:,.4g}", f"{mean:.2f}", f"{std:.2f}" if np.isfinite(std) else None]
        for recipe, size, mean, std in zip(curve.recipes, curve.sizes, curve.mean, curve.std, strict=True)
    ]
    columns = ["Recipe", UNITS[curve.settings.size], "Mean, %", "Deviation"]
    return Table(title=f"{curve.name}: recipes", columns=columns, rows=rows)


def _figure(curves: list[Curve]) -> Figure:
    data: list[Figure] = []
    for number, curve in enumerate(curves):
        colour = COLOURS[number % len(COLOURS)]
        data += [{**part, "mode": "markers"} if part.get("name") else part for part in _points(curve, colour)]
        if law := better(curve):
            x = np.geomspace(curve.sizes[0], curve.sizes[-1], POINTS)
            drawn = line(x, curve.fits[law][0].at(x), f"{curve.name}: {law}", colour, width=1.5, dash="dot")
            data.append({**drawn, "mode": "lines"})
        if curve.family.paper:
            bits, accuracy = zip(*curve.family.paper, strict=True)
            marker = {"symbol": "x", "size": 8, "color": colour}
            paper = {"type": "scatter", "mode": "markers", "name": f"{curve.name}: paper", "marker": marker}
            data.append({**paper, "x": rounded(bits), "y": rounded(accuracy)})
    axis = {"title": {"text": f"{UNITS[curves[0].settings.size]} (log)"}, "type": "log"}
    return accuracy_figure(data, axis)


def _points(curve: Curve, colour: str) -> list[Figure]:
    return list(band(curve.sizes, curve.mean, curve.std, curve.name, colour))
