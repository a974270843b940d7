"""Groups of networks that differ in shape alone, as findings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from prunery.errors import PruneryError, unknown
from prunery.families import absent_notes
from prunery.findings import Cell, Chart, Findings, Quantity, Table
from prunery.reporting.estimates import ONE_SEED, POINTS
from prunery.reporting.statistics import rounded

from .core import shrunken, simultaneous, spread

if TYPE_CHECKING:
    from prunery.reporting.results import Results

    from . import ShapesSettings

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Member:
    """One network: its group, its shape, its parameters, and accuracies in percent `[seeds]`."""

    group: tuple[Any, ...]
    shape: str
    parameters: float
    accuracy: Floats


def findings(results: Results, settings: ShapesSettings) -> Findings:
    """Tables, figures and quantities of every family whose networks were evaluated; a note names the others.

    Raises `PruneryError` for a setting that the networks lack.
    """
    quantities: dict[str, Quantity] = {}
    tables, figures = [], []
    made = {name: _groups(results, name, settings) for name in settings.families}
    for name, groups in made.items():
        if not groups:
            continue
        quantities |= {f"{name}/{key}": found for key, found in _quantities(groups, name, settings).items()}
        tables.append(_table(groups, name, settings))
        figures += _charts(groups, name, settings)
    notes = [
        "Spread: largest minus smallest mean accuracy over the networks of one "
        f"{' and '.join(settings.groups)}. Noise alone makes it positive: the interval allows for that, and the "
        "corrected figure has the noise taken off."
    ]
    notes += absent_notes(name for name, groups in made.items() if not groups)
    return Findings(title="Shape against size", notes=notes, tables=tables, figures=figures, quantities=quantities)


Groups = dict[tuple[Any, ...], list[Member]]


def _groups(results: Results, name: str, settings: ShapesSettings) -> Groups:
    """The members by group, in order of the groups; none where optional data are not here."""
    found: Groups = {}
    rows = {key: each for text in settings.families[name].recipes() for key, each in results.matching(text).items()}
    paths = {recipe.base: path for path, recipe in results.recipes.items() if not recipe.steps}
    for (base, _), each in rows.items():
        told = results.stages[paths[base]].settings
        for key in (*settings.groups, settings.shape):
            if key not in told:
                raise PruneryError(f"analyse 'shapes', families.{name}, base {base}: {unknown('setting', key, told)}")
        accuracy = 100 * each[f"{settings.split}_accuracy"].to_numpy(dtype=np.float64)
        group, shape = tuple(_value(told[key]) for key in settings.groups), _shape(told[settings.shape])
        found.setdefault(group, []).append(Member(group, shape, float(each["parameters"].iloc[0]), accuracy))
    return dict(sorted(found.items(), key=lambda item: [(isinstance(value, str), value) for value in item[0]]))


def _value(value: Any) -> float | str:
    """A setting that groups are told by: numbers count, anything else is as it is spelled."""
    return value if isinstance(value, int | float) else _shape(value)


def _shape(value: Any) -> str:
    """A sequence by the first letters of its words, as in the names of a grid's bases."""
    if isinstance(value, list | tuple):
        return "".join(str(each)[:1] for each in value) or "none"
    return str(value)


def _means(members: list[Member]) -> Floats:
    return np.array([member.accuracy.mean() for member in members])


# --- quantities ------------------------------------------------------------------------------------------------------


def _quantities(groups: Groups, name: str, settings: ShapesSettings) -> dict[str, Quantity]:
    """The largest spread among the groups of large networks: with an interval, and corrected for bias."""
    several = [members for members in groups.values() if len(members) > 1]
    least = settings.minimal_parameters
    held = [members for members in several if min(member.parameters for member in members) >= least]
    if not held:
        reason = f"no group of several shapes has {least:,.10g} parameters and more throughout"
        lacking = Quantity(unit=POINTS, reason=reason)
        return {"shape_spread": lacking, "shape_spread_corrected": lacking}
    count = min(len(member.accuracy) for members in held for member in members)
    value = max(float(spread(_means(members))) for members in held)
    if count < 2:
        single = Quantity(value=value, count=count, unit=POINTS, reason=ONE_SEED)
        return {"shape_spread": single, "shape_spread_corrected": single}
    level = 1 - (1 - settings.confidence) / len(held)
    low, high = np.array([simultaneous(*_estimates(members), level) for members in held]).max(axis=0)
    estimate = max(float(spread(shrunken(*_estimates(members)[:2]))) for members in held)
    ends = {"low": low, "high": high, "count": count, "unit": POINTS}
    return {"shape_spread": Quantity(value=value, **ends), "shape_spread_corrected": Quantity(value=estimate, **ends)}


def _estimates(members: list[Member]) -> tuple[Floats, Floats, NDArray[np.int64]]:
    """Means, their standard errors, and how many seeds are behind each."""
    counts = np.array([len(member.accuracy) for member in members])
    deviations = np.array([member.accuracy.std(ddof=1) for member in members])
    return _means(members), deviations / np.sqrt(counts), counts


# --- table and figures -----------------------------------------------------------------------------------------------


def _table(groups: Groups, name: str, settings: ShapesSettings) -> Table:
    columns = [*settings.groups, "Shapes", "Parameters from", "to", "Best mean, %", "Spread, points"]
    rows: list[list[Cell]] = []
    for group, members in groups.items():
        sizes, means = [member.parameters for member in members], _means(members)
        row: list[Cell] = [*map(str, group), len(members), f"{min(sizes):,.0f}", f"{max(sizes):,.0f}"]
        rows.append([*row, f"{means.max():.2f}", f"{float(spread(means)):.2f}"])
    return Table(title=f"{name}: groups", columns=columns, rows=rows)


def _charts(groups: Groups, name: str, settings: ShapesSettings) -> list[Chart]:
    """Accuracy against parameters, a line per shape, a panel per value of the first grouping setting."""
    charts = []
    for value in dict.fromkeys(group[0] for group in groups):
        lines: dict[str, list[Member]] = {}
        for group, members in groups.items():
            for member in members if group[0] == value else ():
                lines.setdefault(member.shape, []).append(member)
        data = [_line(shape, members) for shape, members in sorted(lines.items())]
        layout = {
            "xaxis": {"title": {"text": "parameters (log)"}, "type": "log"}, "showlegend": False,
            "yaxis": {"title": {"text": f"{settings.split} accuracy, %"}}, "hovermode": "closest",
        }  # fmt: skip
        title = f"{settings.groups[0]} {value}: {len(lines)} shape{'s' if len(lines) > 1 else ''}"
        charts.append(Chart(title=title, figure={"data": data, "layout": layout}, group=name))
    return charts


def _line(shape: str, members: list[Member]) -> dict[str, Any]:
    ordered = sorted(members, key=lambda member: member.parameters)
    plain = set(shape) <= {"e"} or shape == "none"
    colour = "var(--dense)" if plain else "var(--pruned)" if set(shape) <= {"d"} else "var(--further)"
    return {
        "type": "scatter", "mode": "lines+markers", "name": shape, "opacity": 0.9 if plain else 0.55,
        "x": rounded(member.parameters for member in ordered), "y": rounded(_means(ordered)),
        "line": {"width": 1.5, "color": colour}, "marker": {"size": 4, "color": colour},
        "hovertemplate": f"{shape}: %{{y:.2f}} % at %{{x:,}} parameters<extra></extra>",
    }  # fmt: skip
