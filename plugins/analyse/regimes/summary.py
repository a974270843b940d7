"""All families together, as findings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prunery.errors import PruneryError
from prunery.findings import Findings, Quantity

from . import charts, tables
from .family import Analysis
from .quantities import quantities
from .sizes import Reader

if TYPE_CHECKING:
    from prunery.reporting.results import Results

    from . import RegimesSettings


def findings(results: Results, settings: RegimesSettings) -> Findings:
    """Regimes, tables, figures and quantities of every family. Raises `PruneryError` for one without results."""
    analyses = [_analysis(results, name, settings) for name in settings.families]
    found: dict[str, Quantity] = {}
    for analysis in analyses:
        found |= quantities(analysis)
    return Findings(
        title="Regimes of convergence, pruning and quantization",
        notes=tables.notes(analyses),
        tables=[tables.overview(analyses, found), *map(tables.sizes, analyses)],
        figures=[chart for analysis in analyses for chart in charts.panels(analysis, found)],
        quantities=found,
    )


def _analysis(results: Results, name: str, settings: RegimesSettings) -> Analysis:
    family = settings.families[name]
    reader = Reader(results, name, family, settings)
    sizes = reader.sizes()
    if not sizes:
        raise PruneryError(f"analyse 'regimes', families.{name}: no evaluation of {', '.join(family.bases)} was found")
    return Analysis(name, family, sizes, settings, reader.diverged())
