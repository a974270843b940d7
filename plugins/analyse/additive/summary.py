"""All courses together, as findings."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from prunery.families import absent_notes
from prunery.findings import Cell, Chart, Findings, Quantity, Table
from prunery.reporting.estimates import quantity_text
from prunery.reporting.panels import Figure, band

from .course import Course, Floats, read_courses

if TYPE_CHECKING:
    from prunery.reporting.results import Results

    from . import AdditiveSettings

EDGE, SPIKES = "var(--edge)", ("var(--pruned)", "var(--quantized)", "var(--further)", "var(--both)", "var(--law)")


def findings(results: Results, settings: AdditiveSettings) -> Findings:
    """A figure for each weight, a table of them all, and quantities; a note names families that were not fitted."""
    made = {name: read_courses(results, name, settings) for name in settings.families}
    courses = [course for each in made.values() for course in each]
    found: dict[str, Quantity] = {}
    for course in courses:
        found |= course.quantities()
    return Findings(
        title="Noise and spikes in training",
        notes=[*_notes(courses), *absent_notes(name for name, each in made.items() if not each)],
        tables=[_overview(courses, found)] if courses else [],
        figures=[Chart(title=course.name, figure=_figure(course), group="Singular values") for course in courses],
        quantities=found,
    )


def _notes(courses: list[Course]) -> list[str]:
    if not courses:
        return []
    return [
        "The theory: trained with an L2 penalty to a stationary point, W = S + R loses its noise R (the edge of the "
        "bulk falls to zero), and the spikes of S settle. Step 0 is the dense network. Intervals come from resampled "
        "seeds."
    ]


def _overview(courses: list[Course], found: dict[str, Quantity]) -> Table:
    columns = [
        "Weight", "Seeds", "Steps", "Edge, first", "Edge, last", "Ratio", "Largest value, first", "last", "Ratio",
        "Least ratio of the followed", "Separation", "Last step: edge", "values",
    ]  # fmt: skip
    names = [
        "edge_first", "edge_last", "edge_ratio", "spike1_first", "spike1_last", "spike1_ratio", "spikes_kept",
        "separation", "edge_step", "spikes_step",
    ]  # fmt: skip
    rows: list[list[Cell]] = []
    for course in courses:
        told = [quantity_text(found[f"{course.name}/{name}"], digits=3) for name in names]
        rows.append([course.name, course.count, len(course.steps) - 1, *told])
    note = (
        "Separation: by how many times the followed values, the one that fell most, now stand farther off the edge. "
        "Last step: by what share the edge changed, and the one of the followed values that changed most."
    )
    return Table(title="Edges and largest singular values", columns=columns, rows=rows, note=note)


def _figure(course: Course) -> Figure:
    """Singular values over steps, and the edge below them, each with its deviation over seeds."""
    data = _curve(course.edges, "edge of the bulk", EDGE)
    for number in range(course.values.shape[2]):
        data += _curve(course.values[:, :, number], f"value {number + 1}", SPIKES[number % len(SPIKES)])
    layout = {
        "xaxis": {"title": {"text": "step of the recipe"}, "dtick": 1},
        "yaxis": {"title": {"text": "singular value"}, "rangemode": "tozero"},
        "hovermode": "x unified",
        "legend": {"orientation": "h", "y": 1.14, "x": 0},
    }
    return {"data": data, "layout": layout}


def _curve(values: Floats, name: str, colour: str) -> list[Figure]:
    """A figure `[seeds, steps]`; steps at which it was not fitted are left out."""
    steps = np.flatnonzero(np.isfinite(values).all(axis=0))
    known = values[:, steps]
    deviation = known.std(axis=0, ddof=1) if len(known) > 1 else np.zeros(len(steps))
    return list(band(steps.astype(float), known.mean(axis=0), deviation, name, colour)) if len(steps) else []
