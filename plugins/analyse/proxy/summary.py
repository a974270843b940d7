"""All architectures together, as findings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prunery.families import absent_notes
from prunery.findings import Cell, Chart, Findings, Quantity, Table
from prunery.reporting.estimates import quantity_text
from prunery.reporting.panels import COLOURS, Figure
from prunery.reporting.statistics import rounded

from . import POOLED
from .audit import Audit, Floats, pooled
from .reading import read_audit

if TYPE_CHECKING:
    from prunery.reporting.results import Results

    from . import ProxySettings

WHAT = {"proxies": "proxy", "budgets": "budget"}


def findings(results: Results, settings: ProxySettings) -> Findings:
    """Tables, figures and quantities of every family with certificates; a note names the others."""
    made = {name: read_audit(results, name, settings) for name in settings.families}
    audits = [audit for audit in made.values() if audit]
    found: dict[str, Quantity] = {}
    for audit in audits:
        found |= audit.quantities()
    found |= pooled(audits)
    return Findings(
        title="Proxy, budget and loss of accuracy",
        notes=[*_notes(audits), *absent_notes(name for name, audit in made.items() if not audit)],
        tables=[_overview(audits, found), *map(_recipes, audits)] if audits else [],
        figures=[
            Chart(title=f"Accuracy lost against the {word}", figure=_figure(audits, name, word))
            for name, word in WHAT.items()
            if any(getattr(audit, name).size for audit in audits)
        ],
        quantities=found,
    )


def _notes(audits: list[Audit]) -> list[str]:
    if not audits:
        return []
    said = [
        "The proxy sums, over layers, the operator norm of what was taken away times the mean largest input; it bounds "
        "nothing. The budget bounds the change of cross-entropy. Correlations are over recipes, of means over seeds; "
        "intervals come from resampled seeds."
    ]
    rough = [audit.name for audit in audits if audit.budgets.size and not audit.exact]
    if rough:
        said.append(
            "Some constants were sampled, so that budgets are no certificates and may be exceeded, in "
            f"{', '.join(rough)}."
        )
    return said


def _overview(audits: list[Audit], found: dict[str, Quantity]) -> Table:
    columns = [
        "Architecture", "Recipes", "Seeds", "r of drop and proxy", "rank", "r of drop and budget", "rank",
        "r of edge² and proxy, over layers", "Exceeded", "of",
    ]  # fmt: skip
    rows = [_row(audit.name, [len(audit.recipes), audit.count], found) for audit in audits]
    if len(audits) > 1:
        rows.append(_row(POOLED, [sum(len(audit.recipes) for audit in audits), None], found))
    return Table(title="How the proxy goes with the loss", columns=columns, rows=rows)


def _row(name: str, head: list[Cell], found: dict[str, Quantity]) -> list[Cell]:
    correlations = [f"{pair}_{kind}" for pair in ("proxy_drop", "budget_drop") for kind in ("r", "rho")]
    told: list[Cell] = [
        quantity_text(found.get(f"{name}/{each}"), digits=3) for each in (*correlations, "edge_proxy_r")
    ]
    counts: list[Cell] = []
    for each in ("exceeded", "compared"):
        quantity = found.get(f"{name}/{each}") or found.get(f"{name}/{each}_sampled")
        counts.append(None if quantity is None or quantity.value is None else int(quantity.value))
    return [name, *head, *told, *counts]


def _recipes(audit: Audit) -> Table:
    """One row for each recipe, means over seeds."""
    figures: list[Floats] = [audit.drops, audit.proxies]
    columns = ["Recipe", "Accuracy lost, points", "Proxy"]
    if audit.budgets.size:
        figures += [audit.budgets, audit.rises]
        columns += ["Budget" if audit.exact else "Budget (sampled)", "Cross-entropy gained"]
    rows: list[list[Cell]] = [
        [recipe, *(f"{float(figure[:, number].mean()):.4g}" for figure in figures)]
        for number, recipe in enumerate(audit.recipes)
    ]
    return Table(title=f"{audit.name}: recipes", columns=columns, rows=rows)


def _figure(audits: list[Audit], name: str, word: str) -> Figure:
    """A point for each recipe, means over seeds."""
    data: list[Figure] = []
    for number, audit in enumerate(audits):
        if not getattr(audit, name).size:
            continue
        x, y = getattr(audit, name).mean(axis=0), audit.drops.mean(axis=0)
        marker = {"size": 7, "color": COLOURS[number % len(COLOURS)]}
        data.append({
            "type": "scatter", "mode": "markers", "name": audit.name, "x": rounded(x), "y": rounded(y),
            "marker": marker, "text": list(audit.recipes), "hovertemplate": "%{text}<br>%{x:.4g}, %{y:.2f}",
        })  # fmt: skip
    layout = {
        "xaxis": {"title": {"text": word}}, "yaxis": {"title": {"text": "accuracy lost, points"}},
        "hovermode": "closest", "legend": {"orientation": "h", "y": 1.14, "x": 0},
    }  # fmt: skip
    return {"data": data, "layout": layout}
