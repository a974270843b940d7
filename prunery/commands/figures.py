"""The figures of two evaluations side by side, and the difference over the seeds that both have.

Importing this imports scipy and pandas.
"""

from __future__ import annotations

import json
from pathlib import Path
from statistics import fmean
from typing import Any

from prunery.errors import PruneryError
from prunery.reporting.statistics import clipped, mean_interval
from prunery.reporting.summary import accuracy_text, size_text

Replicas = dict[str, dict[str, Any]]
SPLITS = ("test", "validation")


def compared(files: list[Path]) -> list[list[str]]:
    """Rows of what, A, B: accuracy of each split, the paired difference, size."""
    sides = [_replicas(file) for file in files]
    rows = []
    for split in SPLITS:
        if all("accuracy" in figures.get(split, {}) for side in sides for figures in side.values()):
            rows.append([f"{split} accuracy", *(_accuracy(side, split) for side in sides)])
            rows += _difference(sides, split)
    if all("bits" in figures for side in sides for figures in side.values()):
        rows.append(["size", *(size_text(fmean(each["bits"] for each in side.values())) for side in sides)])
    return rows


def _replicas(file: Path) -> Replicas:
    try:
        found: Replicas = json.loads(file.read_text(encoding="utf-8"))["replicas"]
    except (ValueError, KeyError, TypeError) as error:
        raise PruneryError(f"{file} is not a readable evaluation ({error}): delete it and run again") from error
    return found


def _accuracy(side: Replicas, split: str) -> str:
    return accuracy_text(clipped(mean_interval([each[split]["accuracy"] for each in side.values()]), 0.0, 1.0))


def _difference(sides: list[Replicas], split: str) -> list[list[str]]:
    """The mean of B - A over the seeds that both have, in percentage points, with its interval."""
    both = [seed for seed in sides[0] if seed in sides[1]]
    if not both:
        return []
    gaps = [100 * (sides[1][seed][split]["accuracy"] - sides[0][seed][split]["accuracy"]) for seed in both]
    found = mean_interval(gaps)
    within = "" if found.low is None or found.high is None else f" [{found.low:+.1f}, {found.high:+.1f}]"
    return [["  B - A, seed by seed", "", f"{found.mean:+.1f} points{within}"]]
