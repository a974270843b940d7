"""What every benchmark ends with: the verdict lines, the figures as JSON, the exit code."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NoReturn


def parser(description: str | None) -> argparse.ArgumentParser:
    """A command line with `--json FILE`."""
    made = argparse.ArgumentParser(description=(description or "").partition("\n")[0])
    made.add_argument("--json", type=Path, metavar="FILE", help="write all figures to this file")
    return made


@dataclass(frozen=True)
class Verdict:
    """A figure against its target: the least that holds, or the largest with `at_most`. What is no ratio has a unit."""

    benchmark: str
    ratio: float
    target: float
    at_most: bool = False
    unit: str = "x"

    @property
    def holds(self) -> bool:
        """Whether the target is met."""
        return self.ratio <= self.target if self.at_most else self.ratio >= self.target

    def __str__(self) -> str:
        """`NAME: <ratio>x (target <target>x) holds|falls short`."""
        told = f"target at most {self.target:g}{self.unit}" if self.at_most else f"target {self.target:g}{self.unit}"
        found = f"{self.ratio:.2f}" if self.unit == "x" else f"{self.ratio:g}"
        return f"{self.benchmark}: {found}{self.unit} ({told}) {'holds' if self.holds else 'falls short'}"


def conclude_all(verdicts: Sequence[Verdict], figures: dict[str, Any], path: Path | None) -> NoReturn:
    """Print the verdicts, write them and the figures, exit 0 if all hold, else 1."""
    if path:
        told = [asdict(verdict) | {"holds": verdict.holds} for verdict in verdicts]
        path.write_text(json.dumps({"verdicts": told, **figures}, indent=1) + "\n", encoding="utf-8")
    for verdict in verdicts:
        print(verdict)
    sys.exit(0 if all(verdict.holds for verdict in verdicts) else 1)


def conclude(
    name: str,
    ratio: float,
    target: float,
    figures: dict[str, Any],
    path: Path | None,
    at_most: bool = False,
    unit: str = "x",
) -> NoReturn:
    """`conclude_all` for a benchmark with one target; its file holds the verdict among the figures."""
    verdict = Verdict(name, ratio, target, at_most, unit)
    if path:
        record = {"benchmark": name, "ratio": ratio, "target": target, "holds": verdict.holds, **figures}
        path.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    conclude_all([verdict], {}, None)
