"""What every benchmark ends with: the verdict line, the figures as JSON, the exit code."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any, NoReturn


def parser(description: str | None) -> argparse.ArgumentParser:
    """A command line with `--json FILE`."""
    made = argparse.ArgumentParser(description=(description or "").partition("\n")[0])
    made.add_argument("--json", type=Path, metavar="FILE", help="write all figures to this file")
    return made


def conclude(
    name: str,
    ratio: float,
    target: float,
    figures: dict[str, Any],
    path: Path | None,
    at_most: bool = False,
    unit: str = "x",
) -> NoReturn:
    """Print `NAME: <ratio>x (target <target>x) holds|falls short`, write the figures, exit 0 or 1.

    The target is the least ratio that holds, or the largest with `at_most`. What is no ratio has another `unit`.
    """
    holds = ratio <= target if at_most else ratio >= target
    if path:
        record = {"benchmark": name, "ratio": ratio, "target": target, "holds": holds, **figures}
        path.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    told = f"target at most {target:g}{unit}" if at_most else f"target {target:g}{unit}"
    found = f"{ratio:.2f}" if unit == "x" else f"{ratio:g}"
    print(f"{name}: {found}{unit} ({told}) {'holds' if holds else 'falls short'}")
    sys.exit(0 if holds else 1)
