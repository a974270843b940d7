"""The tables as findings, every cell a quantity."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from prunery.findings import Cell, Chart, Findings, Quantity, Table
from prunery.reporting.estimates import NONE, paper_text, quantity_text

from . import Sweep
from .cells import of_layer, of_recipe
from .sweeps import Cells, sweep_charts, sweep_table

if TYPE_CHECKING:
    from prunery.reporting.results import Results

    from . import Layers, Recipes, Statistic, TablesSettings

    Asked = Recipes | Sweep | Layers


def findings(results: Results, settings: TablesSettings) -> Findings:
    """A table for each of the settings' of which something is known, and quantities `table/row/column`."""
    tables: list[Table] = []
    figures: list[Chart] = []
    found: dict[str, Quantity] = {}
    absent = []
    for name, cells, asked in _all(results, settings):
        found |= {f"{name}/{row}/{column}": quantity for (row, column), quantity in cells.items()}
        if any(quantity.value is not None for quantity in cells.values()):
            tables.append(sweep_table(asked, cells) if isinstance(asked, Sweep) else _table(asked, cells))
            figures += sweep_charts(asked, cells) if isinstance(asked, Sweep) else []
        else:
            absent.append(asked.title)
    notes = ["Means over seeds with their 95 % t intervals; of times the interval is that of the measurement."]
    notes += [f"Left out, since nothing of them was measured: {'; '.join(absent)}."] if absent else []
    return Findings(title="Tables beside the paper's", notes=notes, tables=tables, figures=figures, quantities=found)


def _all(results: Results, settings: TablesSettings) -> list[tuple[str, Cells, Asked]]:
    """Name, cells and settings of every table, by name."""
    made: list[tuple[str, Cells, Asked]] = []
    for name, table in settings.recipes.items():
        made.append((name, _recipes(results, table), table))
    for name, sweep in settings.sweeps.items():
        columns = [_recipes(results, view).items() for view in sweep.views]
        told = {place: cell for column in columns for place, cell in column if place[0] in sweep.rows}
        made.append((name, told, sweep))
    for name, listed in settings.layers.items():
        made.append((name, _layers(results, name, listed), listed))
    return sorted(made, key=lambda each: _natural(each[0]))


def _natural(name: str) -> list[tuple[bool, int, str]]:
    """`table-10` behind `table-9`."""
    return [(part.isdigit(), int(part) if part.isdigit() else 0, part) for part in name.replace("-", " ").split()]


def _recipes(results: Results, table: Recipes) -> Cells:
    return _cells(
        {row: row for row in table.rows}, table.columns, lambda row, each: of_recipe(results, table, row, each)
    )


def _layers(results: Results, name: str, table: Layers) -> Cells:
    def cell(key: str, column: Statistic) -> Quantity:
        return of_layer(results, table, key, column, f"analyse 'tables', layers.{name}")

    return _cells(table.rows, table.columns, cell)


def _cells(rows: Mapping[str, str], columns: Mapping[str, Any], cell: Callable[[str, Any], Quantity]) -> Cells:
    return {(row, title): cell(told, column) for row, told in rows.items() for title, column in columns.items()}


def _table(asked: Recipes | Layers, cells: Cells) -> Table:
    """The paper's numbers behind each column of which it has any."""
    told = {title for numbers in asked.paper.values() for title in numbers}
    titles = [part for title in asked.columns for part in ((title, "Paper") if title in told else (title,))]
    rows: list[list[Cell]] = []
    for row in asked.rows:
        line: list[Cell] = [row]
        for title, column in asked.columns.items():
            quantity = cells[row, title]
            line.append(NONE if quantity.value is None else quantity_text(quantity, digits=column.digits))
            line += [paper_text(asked.paper.get(row, {}).get(title))] if title in told else []
        rows.append(line)
    return Table(title=asked.title, columns=["", *titles], rows=rows, note=asked.note)
