"""Measurement files: what a measure found, by seed, key of the weight, and statistic; tensors or JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from prunery.errors import PruneryError
from prunery.files import save_json, save_tensors

Findings = Mapping[int, Mapping[str, Mapping[str, Any]]]


def save_findings(findings: Findings, path: Path) -> None:
    """Write findings: `.safetensors` with keys `<seed>:<key>/<statistic>`, or `.json` with the seeds as text."""
    if path.suffix == ".json":
        save_json({str(seed): rows for seed, rows in findings.items()}, path)
    else:
        save_tensors(_flat(findings), path)


def _flat(findings: Findings) -> dict[str, Tensor]:
    return {
        f"{seed}:{key}/{name}": value
        for seed, rows in findings.items()
        for key, row in rows.items()
        for name, value in row.items()
    }


def load_findings(path: Path) -> dict[int, dict[str, dict[str, Any]]]:
    """Read what `save_findings` wrote, or an evaluation's figures by seed. Raises `PruneryError` for a damaged file."""
    try:
        if path.suffix == ".json":
            told = json.loads(path.read_text(encoding="utf-8"))
            return {int(seed): rows for seed, rows in told.get("replicas", told).items()}
        findings: dict[int, dict[str, dict[str, Any]]] = {}
        for flat, value in load_file(path).items():
            seed, _, rest = flat.partition(":")
            key, _, name = rest.rpartition("/")
            findings.setdefault(int(seed), {}).setdefault(key, {})[name] = value
        return findings
    except (SafetensorError, ValueError, TypeError, AttributeError, OSError) as error:
        raise PruneryError(f"{path} is not a readable measurement ({error}): delete it and run again") from error


def load_measured(paths: Iterable[Path]) -> dict[int, dict[str, Any]]:
    """What measurement files say: seed -> variant -> key -> statistic -> value.

    Of evaluations: seed -> variant -> folder of the network -> its figures, in the order of the paths.
    """
    found: dict[int, dict[str, Any]] = {}
    for path in paths:
        stage, _, variant = path.stem.partition("=")
        for seed, rows in load_findings(path).items():
            row = found.setdefault(seed, {})
            row[variant] = {**row.get(variant, {}), str(path.parent): rows} if stage == "evaluate" else rows
    return found
