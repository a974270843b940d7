"""All families together, as findings."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from prunery.families import absent_notes
from prunery.findings import Cell, Chart, Findings, Quantity, Table
from prunery.reporting.estimates import quantity_text
from prunery.reporting.panels import COLOURS, Figure, band, level, line

from .sizes import Floats, Sizes, read_sizes

if TYPE_CHECKING:
    from prunery.reporting.results import Results

    from . import TrendSettings

SIZES = {"parameters": "parameters", "macs": "multiply-accumulates"}
SHOWN = 5
"""Ratios whose lines are drawn, at most: the first, the last, and others between."""


def findings(results: Results, settings: TrendSettings) -> Findings:
    """Tables, figures and quantities of every family of which two sizes were evaluated; a note names the others."""
    made = {name: read_sizes(results, name, settings) for name in settings.families}
    families = [family for family in made.values() if family]
    found: dict[str, Quantity] = {}
    for family in families:
        found |= family.quantities()
    return Findings(
        title="Size and loss of accuracy",
        notes=[*_notes(families, settings), *absent_notes(name for name, family in made.items() if not family)],
        tables=[_table(family, found) for family in families],
        figures=[Chart(title=family.name, figure=_figure(family)) for family in families]
        + ([Chart(title="Slopes against the ratio", figure=_slopes(families, found))] if families else []),
        quantities=found,
    )


def _notes(families: list[Sizes], settings: TrendSettings) -> list[str]:
    if not families:
        return []
    return [
        f"Lines of least squares through the mean drops of {settings.split} accuracy over the decimal logarithm of the "
        f"dense networks' {SIZES[settings.size]}. A slope below zero says that larger networks lose less. Intervals "
        "come from resampled seeds, those of each size by themselves; they say nothing about other sizes."
    ]


def _table(family: Sizes, found: dict[str, Quantity]) -> Table:
    columns = ["Ratio, %", *(f"{each.base} ({each.size:,.0f}), points" for each in family.members)]
    rows: list[list[Cell]] = []
    for ratio in family.ratios:
        at = f"{family.name}/{{}}@{ratio:g}"
        drops = [quantity_text(found[f"{at.format('drop')}/{each.base}"], digits=2) for each in family.members]
        told = [quantity_text(found[at.format(name)], digits=2) for name in ("slope", "correlation")]
        rows.append([f"{100 * ratio:g}", *drops, *told])
    grown = found[f"{family.name}/growth"].value
    note = "" if grown is None else f"From the first to the last ratio the slope changes by {grown:.2f}."
    return Table(
        title=f"{family.name}: accuracy lost", columns=[*columns, "Slope per tenfold size", "r"], rows=rows, note=note
    )


def _figure(family: Sizes) -> Figure:
    """Drops over size, and the lines through them."""
    data: list[Figure] = []
    chosen = np.unique(np.linspace(0, len(family.ratios) - 1, SHOWN).round().astype(int))
    sizes = np.array([member.size for member in family.members])
    spread = np.stack([_std(member.drops) for member in family.members])
    for number, index in enumerate(chosen):
        colour, mean = COLOURS[number % len(COLOURS)], family.mean[:, index]
        points = list(band(sizes, mean, spread[:, index], f"{100 * family.ratios[index]:g} %", colour))
        data += [part | {"mode": "markers"} if part.get("name") else part for part in points]
        if np.isfinite(slope := family.slopes[0][index]):
            fitted = mean.mean() + slope * (family.decades - family.decades.mean())
            data.append({**line(sizes, fitted, "", colour, 1.5, "dot"), "mode": "lines", "showlegend": False})
    axis = {"title": {"text": f"{SIZES[family.settings.size]} (log)"}, "type": "log"}
    return _over(axis, "accuracy lost, points", data)


def _slopes(families: list[Sizes], found: dict[str, Quantity]) -> Figure:
    """The slope of each ratio, with its interval."""
    data: list[Figure] = []
    for number, family in enumerate(families):
        told = [found[f"{family.name}/slope@{ratio:g}"] for ratio in family.ratios]
        if any(each.value is None for each in told):
            continue
        value = np.array([each.value for each in told], dtype=float)
        reach = np.array(
            [(each.high - each.low) / 2 if each.low is not None and each.high is not None else 0.0 for each in told]
        )
        data += band(family.ratios, value, reach, family.name, COLOURS[number % len(COLOURS)])
    axis = {"title": {"text": "ratio"}, "tickformat": ".0%"}
    return _over(axis, "slope, points per tenfold size", data)


def _over(axis: Figure, title: str, data: list[Figure]) -> Figure:
    layout = {"xaxis": axis, "yaxis": {"title": {"text": title}}, "hovermode": "closest", "shapes": [level(0)]}
    return {"data": data, "layout": layout | {"legend": {"orientation": "h", "y": 1.14, "x": 0}}}


def _std(drops: Floats) -> Floats:
    return np.asarray(drops.std(axis=0, ddof=1)) if len(drops) > 1 else np.zeros(drops.shape[1])
