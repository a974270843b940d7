"""The tables of the analysis: every family beside the paper's numbers, and the sizes of each family."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from prunery.families import absent_notes
from prunery.findings import Cell, Quantity, Table
from prunery.reporting.estimates import NONE, paper_text, quantity_text

from .core import OVERFIT, STABLE, UNSTABLE
from .quantities import NO_SIZE, gap_quantity, of, safe_pruning

if TYPE_CHECKING:
    from .family import Analysis

REGIME = {UNSTABLE: "unstable", STABLE: "stable", OVERFIT: "over-fitting"}


def overview(analyses: list[Analysis], found: dict[str, Quantity]) -> Table:
    """One row per family: minimal stable size, safe pruning and 8-bit gap, each with the paper's number."""
    columns = [
        "Family", "Sizes", "Seeds", "Minimal stable size", "Its parameters", "Paper", "Safe pruning, %", "Paper",
        "8-bit gap there, points", "Paper", "Best accuracy, %", "Paper", "Diverged",
    ]  # fmt: skip
    note = "Intervals in brackets come from resampled seeds; … is an end beyond the sizes tried."
    return Table(
        title="Minimal architectures", columns=columns, rows=[_row(each, found) for each in analyses], note=note
    )


def _row(analysis: Analysis, found: dict[str, Quantity]) -> list[Cell]:
    def told(name: str, factor: float = 1, digits: int | None = None) -> str:
        return quantity_text(found.get(f"{analysis.name}/{name}"), factor, digits)

    paper, unit = analysis.family.paper, analysis.family.size or analysis.settings.size
    safe = None if paper.safe_pruning is None else 100 * paper.safe_pruning
    return [
        analysis.name, len(analysis.sizes), analysis.count, f"{unit} {told('minimal_stable_size')}",
        told("minimal_stable_parameters"), paper_text(paper.minimal_parameters), told("safe_pruning", 100, 0),
        paper_text(safe), told("int8_gap_at_stable", digits=2), paper_text(paper.int8_gap),
        told("best_accuracy", digits=2),
        paper_text(paper.accuracy), analysis.diverged,
    ]  # fmt: skip


def sizes(analysis: Analysis) -> Table:
    """One row per size of a family."""
    unit = analysis.family.size or analysis.settings.size
    told = [] if unit == "parameters" else [unit]
    pruned, quantized = any(analysis.pruning), any(analysis.gaps)
    columns = [*told, "Parameters", "Seeds", "Mean, %", "Deviation", "Training, %", "Regime", "in resamples"]
    columns += ["Safe pruning, %", "Flat to", "Collapsed from"] if pruned else []
    columns += ["8-bit gap, points", "Paired"] if quantized else []
    rows = [_size(analysis, index, bool(told), pruned, quantized) for index in range(len(analysis.sizes))]
    return Table(title=f"{analysis.name}: sizes", columns=columns, rows=rows)


def _size(analysis: Analysis, index: int, told: bool, pruned: bool, quantized: bool) -> list[Cell]:
    size, curve = analysis.sizes[index], analysis.curve
    regime = int(analysis.regimes[index])
    share = float((analysis.drawn_regimes[:, index] == regime).mean())
    known = analysis.count > 1
    count = len(size.accuracy)
    row: list[Cell] = [f"{size.size:g}"] if told else []
    row += [f"{size.parameters:,.0f}", count]
    row.append(quantity_text(of(analysis, curve.mean[index], curve.means[:, index], "%", count=count), digits=2))
    row += [_number(curve.std[index]), _number(curve.train[index])]
    row += [REGIME[regime], f"{share:.0%}"] if known else [NONE, NONE]
    row += _pruned(analysis, index) if pruned else []
    return row + (_quantized(analysis, index) if quantized else [])


def _number(value: float) -> str:
    return f"{value:.2f}" if np.isfinite(value) else NONE


def _pruned(analysis: Analysis, index: int) -> list[Cell]:
    pruning = analysis.pruning[index]
    if pruning is None:
        return [NONE, NONE, NONE]
    safe = quantity_text(safe_pruning(pruning, analysis.settings.confidence), 100, 0)
    return [safe, *(f"{100 * value:.0f} %" if np.isfinite(value) else NONE for value in map(float, pruning.phases))]


def _quantized(analysis: Analysis, index: int) -> list[Cell]:
    gap = analysis.gaps[index]
    if gap is None:
        return [NONE, NONE]
    return [quantity_text(gap_quantity(analysis, gap), digits=2), "by seed" if gap.paired else "no"]


def notes(analyses: list[Analysis], absent: list[str]) -> list[str]:
    """What a reader should know of the definitions, and what is missing: `absent` families among it."""
    left_out = absent_notes(absent)
    if not analyses:
        return left_out
    settings = analyses[0].settings
    said = [
        f"A size is stable if from it on every size's {settings.split} accuracy deviates by at most "
        f"{settings.stable_std:g} points (families may differ) and its mean lies at most {settings.within:g} points "
        f"below the best. Over-fitting: the mean falls by more than {settings.overfit_drop:g} points below its running "
        "maximum while training accuracy does not fall. "
        f"Safe pruning: up to the largest ratio with a loss of at most {settings.pruning_loss:g} points, at the "
        f"{settings.pruned_at} stable size. 8-bit gap: fp32 minus int8 at the minimal stable size."
    ]
    lists = {
        f"{NO_SIZE[:1].upper()}{NO_SIZE[1:]} in": [each for each in analyses if each.stable == len(each.sizes)],
        "One seed only, so no deviations, in": [each for each in analyses if each.count < 2],
        "Fewer than five seeds, so that intervals are too short, in": [each for each in analyses if 1 < each.count < 5],
        "No learning curves, so that over-fitting is not told, in": [
            each for each in analyses if np.isnan(each.curve.train).any()
        ],
        "Training diverged in": [each for each in analyses if each.diverged],
    }
    said += [f"{what} {', '.join(each.name for each in held)}." for what, held in lists.items() if held]
    return said + left_out
