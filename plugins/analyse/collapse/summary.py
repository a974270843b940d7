"""All curves together, as findings."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from prunery.families import absent_notes
from prunery.findings import Cell, Chart, Findings, Quantity, Table
from prunery.reporting.estimates import paper_text, quantity_text
from prunery.reporting.panels import COLOURS, Figure, Floats, accuracy_figure, band, level

from .curve import Curve, read_curve

if TYPE_CHECKING:
    from prunery.reporting.results import Results

    from . import CollapseSettings


def findings(results: Results, settings: CollapseSettings) -> Findings:
    """Tables, figures and quantities of every family that was evaluated; a note names the others."""
    made = {name: read_curve(results, name, settings) for name in settings.families}
    curves = [curve for curve in made.values() if curve]
    found: dict[str, Quantity] = {}
    for curve in curves:
        found |= curve.quantities()
    return Findings(
        title="Sparsity to the collapse",
        notes=[*_notes(curves, settings), *absent_notes(name for name, curve in made.items() if not curve)],
        tables=[_overview(curves, found), *map(_ratios, curves)] if curves else [],
        figures=_charts(curves),
        quantities=found,
    )


def _notes(curves: list[Curve], settings: CollapseSettings) -> list[str]:
    if not curves:
        return []
    collapse = {
        "chance": f"the first ratio with mean {settings.split} accuracy within {settings.margin:g} points of chance",
        "drop": f"the ratio behind the largest fall of mean {settings.split} accuracy from one ratio to the next",
    }
    said = [
        f"Collapse: {collapse[settings.definition]}. It is one of the ratios that were tried. Gone: the share of the "
        "dense network's parameters that is zero or was removed. Intervals come from resampled seeds."
    ]
    few = [curve.name for curve in curves if 1 < curve.count < 5]
    return said + ([f"Fewer than five seeds, so that intervals are too short, in {', '.join(few)}."] if few else [])


def _overview(curves: list[Curve], found: dict[str, Quantity]) -> Table:
    columns = [
        "Family", "Seeds", "Unpruned, %", "Collapse at, %", "Paper", "Gone there, %", "Paper", "Accuracy there, %",
        "Paper", "Largest drop, points", "reached at, %",
    ]  # fmt: skip
    return Table(title="Where accuracy collapses", columns=columns, rows=[_row(curve, found) for curve in curves])


def _row(curve: Curve, found: dict[str, Quantity]) -> list[Cell]:
    def told(name: str, factor: float = 1, digits: int | None = None) -> str:
        return quantity_text(found.get(f"{curve.name}/{name}"), factor, digits)

    paper, index = curve.family.paper, curve.index(curve.settings.definition)
    there = told(f"accuracy@{curve.ratios[index]:g}", digits=2) if index < len(curve.ratios) else quantity_text(None)
    return [
        curve.name, curve.count, told("accuracy@0", digits=2), told("collapse", 100), _share(paper.collapse),
        told("collapse_removed", 100, 1), _share(paper.removed), there, paper_text(paper.accuracy),
        told("largest_drop", digits=2), told("collapse_by_drop", 100),
    ]  # fmt: skip


def _share(value: float | None) -> str:
    return paper_text(None if value is None else round(100 * value, 6))


def _ratios(curve: Curve) -> Table:
    """One row for each ratio."""
    rows: list[list[Cell]] = [
        [f"{100 * ratio:g}", f"{100 * gone:.2f}", f"{mean:.2f}", f"{std:.2f}" if np.isfinite(std) else None]
        for ratio, gone, mean, std in zip(curve.ratios, curve.removed, curve.mean, curve.std, strict=True)
    ]
    return Table(title=f"{curve.name}: ratios", columns=["Ratio, %", "Gone, %", "Mean, %", "Deviation"], rows=rows)


def _charts(curves: list[Curve]) -> list[Chart]:
    """All curves over the ratio that was asked for, and over what is gone."""
    if not curves:
        return []
    over = {"ratio asked for": [curve.ratios for curve in curves], "gone": [curve.removed for curve in curves]}
    titles = {"ratio asked for": "Accuracy against the ratio", "gone": "Accuracy against what is gone"}
    return [Chart(title=titles[name], figure=_figure(curves, name, x), group="") for name, x in over.items()]


def _figure(curves: list[Curve], title: str, places: list[Floats]) -> Figure:
    data: list[Figure] = []
    for number, (curve, x) in enumerate(zip(curves, places, strict=True)):
        data += band(x, curve.mean, curve.std, curve.name, COLOURS[number % len(COLOURS)])
    chances = sorted({curve.chance for curve in curves})
    axis = {"title": {"text": title}, "tickformat": ".0%"}
    return accuracy_figure(data, axis, shapes=[level(chance) for chance in chances])
