"""All families together, as findings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prunery.findings import Findings, Quantity

from . import charts, tables
from .family import Analysis
from .quantities import quantities
from .sizes import Reader

if TYPE_CHECKING:
    from prunery.reporting.results import Results

    from . import RegimesSettings


def findings(results: Results, settings: RegimesSettings) -> Findings:
    """Regimes, tables, figures and quantities of every family whose networks were evaluated; notes name the others."""
    made = {name: _analysis(results, name, settings) for name in settings.families}
    analyses = [analysis for analysis in made.values() if analysis]
    absent = [name for name, analysis in made.items() if not analysis]
    found: dict[str, Quantity] = {}
    for analysis in analyses:
        found |= quantities(analysis)
    return Findings(
        title="Regimes of convergence, pruning and quantization",
        notes=tables.notes(analyses, absent),
        tables=[tables.overview(analyses, found), *map(tables.sizes, analyses)] if analyses else [],
        figures=[chart for analysis in analyses for chart in charts.panels(analysis, found)],
        quantities=found,
    )


def _analysis(results: Results, name: str, settings: RegimesSettings) -> Analysis | None:
    """A family's analysis; none where nothing of it was evaluated, as where its optional data are not here."""
    family = settings.families[name]
    reader = Reader(results, name, family, settings)
    sizes = reader.sizes()
    return Analysis(name, family, sizes, settings, reader.diverged()) if sizes else None
