"""A table with a column for each amount, and its curves."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from prunery.findings import Cell, Chart, Quantity, Table
from prunery.reporting.estimates import NONE, paper_text, quantity_text
from prunery.reporting.panels import COLOURS, Figure, band, line

if TYPE_CHECKING:
    from . import Sweep

Cells = dict[tuple[str, str], Quantity]


def sweep_table(asked: Sweep, cells: Cells) -> Table:
    """The paper's numbers below each row of which it has any."""
    rows: list[list[Cell]] = []
    for row in asked.rows:
        found = (cells[row, at] for at in asked.at)
        told = [NONE if each.value is None else quantity_text(each, digits=asked.figure.digits) for each in found]
        rows.append([row, *told])
        if row in asked.paper:
            rows.append([f"{row}: paper", *map(paper_text, asked.paper[row])])
    return Table(title=asked.title, columns=["", *asked.at], rows=rows, note=asked.note)


def sweep_charts(asked: Sweep, cells: Cells) -> list[Chart]:
    """Each row over the amounts with its intervals; the paper's are dashed. None unless amounts are numbers."""
    try:
        places = [float(at) for at in asked.at]
    except ValueError:
        return []
    data: list[Figure] = []
    for number, row in enumerate(asked.rows):
        colour = COLOURS[number % len(COLOURS)]
        data += _curve([(x, cells[row, at]) for x, at in zip(places, asked.at, strict=True)], row, colour)
        paper = [(x, y) for x, y in zip(places, asked.paper.get(row, ()), strict=False) if y is not None]
        if paper:
            x, y = np.array(paper).T
            data.append(line(x, y, f"{row}: paper", colour, width=1, dash="dot"))
    layout = {
        "xaxis": {"title": {"text": "amount"}},
        "hovermode": "x unified",
        "legend": {"orientation": "h", "y": 1.2},
    }
    return [Chart(title=asked.title, figure={"data": data, "layout": layout})]


def _curve(points: list[tuple[float, Quantity]], name: str, colour: str) -> Iterator[Figure]:
    known = [(x, cell.value, _reach(cell)) for x, cell in points if cell.value is not None]
    if known:
        x, mean, reach = np.array(known).T
        yield from band(x, mean, reach, name, colour)


def _reach(cell: Quantity) -> float:
    """Half the interval, which is symmetric here."""
    return math.nan if cell.low is None or cell.high is None else (cell.high - cell.low) / 2
