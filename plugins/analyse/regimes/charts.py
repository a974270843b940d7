"""Three panels per family, as in the paper: convergence, pruning, quantization. Colours are the report's variables."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from prunery.findings import Chart, Quantity
from prunery.reporting.panels import Figure, accuracy_figure, band, level, line, shade
from prunery.reporting.statistics import rounded

from .core import OVERFIT, UNSTABLE

if TYPE_CHECKING:
    from .family import Analysis, Pruning

SHADES = {UNSTABLE: "var(--bad)", OVERFIT: "var(--doubt)"}
"""Colours of the regimes that are shaded; stable sizes stay bare."""


def panels(analysis: Analysis, found: dict[str, Quantity]) -> Iterator[Chart]:
    """The panels that there are results for."""
    yield Chart(title="Convergence: mean ± standard deviation", figure=_convergence(analysis), group=analysis.name)
    if any(analysis.pruning):
        yield Chart(
            title="Pruning: mean of each size, no training after it", figure=_pruning(analysis), group=analysis.name
        )
    if any(analysis.gaps):
        yield Chart(title="Quantization: fp32, int8 and their gap", figure=_quantization(analysis), group=analysis.name)


def _convergence(analysis: Analysis) -> Figure:
    curve = analysis.curve
    data = list(band(analysis.size, curve.mean, curve.std, "test accuracy", "var(--dense)"))
    if np.isfinite(curve.train).all():
        data.append(line(analysis.size, curve.train, "training accuracy", "var(--train)", dash="dot"))
    return accuracy_figure(data, _size_axis(analysis), shapes=[*_shades(analysis), *_plateau(analysis)])


def _pruning(analysis: Analysis) -> Figure:
    held = [(size, pruning) for size, pruning in zip(analysis.sizes, analysis.pruning, strict=True) if pruning]
    chosen = None if analysis.pruned_at is None else analysis.pruning[analysis.pruned_at]
    data = []
    for size, pruning in held:
        name = f"{analysis.family.size or analysis.settings.size} {size.size:,.10g}"
        if pruning is chosen:
            data += list(band(pruning.ratios, pruning.mean, pruning.std, name, "var(--pruned)"))
        else:
            data.append(line(pruning.ratios, pruning.mean, name, "var(--muted)", width=1))
    axis = {"title": {"text": "share of weights pruned"}, "tickformat": ".0%"}
    return accuracy_figure(data, axis, legend=False, shapes=_phases(chosen) if chosen else [])


def _quantization(analysis: Analysis) -> Figure:
    held = [index for index, gap in enumerate(analysis.gaps) if gap]
    sizes = [analysis.sizes[index] for index in held]
    x, gaps = analysis.size[held], np.array([gap.value for gap in analysis.gaps if gap])
    data = [line(x, gaps, "gap, points", "var(--bad)", width=1.2, dash="dot") | {"yaxis": "y2"}]
    data += band(x, analysis.curve.mean[held], analysis.curve.std[held], "fp32", "var(--dense)")
    spread = [size.int8.std(ddof=1) if len(size.int8) > 1 else np.nan for size in sizes]
    data += band(x, np.array([size.int8.mean() for size in sizes]), np.array(spread), "int8", "var(--quantized)")
    second = {
        "title": {"text": "gap, points"}, "overlaying": "y", "side": "right", "showgrid": False, "automargin": True,
        "range": rounded([min(0, gaps.min()), max(4 * gaps.max(), 1)]),
    }  # fmt: skip
    return accuracy_figure(data, _size_axis(analysis), yaxis2=second)


# --- parts -----------------------------------------------------------------------------------------------------------


def _size_axis(analysis: Analysis) -> Figure:
    unit = analysis.family.size or analysis.settings.size
    return {"title": {"text": f"{unit} (log)"}, "type": "log"}


def _shades(analysis: Analysis) -> Iterator[Figure]:
    """Unstable and over-fitting sizes, each up to halfway to its neighbours."""
    middles = np.sqrt(analysis.size[1:] * analysis.size[:-1])
    edges = rounded([analysis.size[0], *middles, analysis.size[-1]])
    for index, regime in enumerate(map(int, analysis.regimes)):
        if regime in SHADES and analysis.count > 1:
            yield shade(edges[index], edges[index + 1], SHADES[regime])


def _plateau(analysis: Analysis) -> list[Figure]:
    """The paper's accuracy, if it is given."""
    value = analysis.family.paper.accuracy
    return [] if value is None else [level(value)]


def _phases(pruning: Pruning) -> list[Figure]:
    """The decline and the collapse of the size that is told of."""
    start, end = map(float, pruning.phases)
    if not np.isfinite(start):
        return []
    return [shade(start, end, "var(--doubt)"), shade(end, float(pruning.ratios[-1]), "var(--bad)")]
