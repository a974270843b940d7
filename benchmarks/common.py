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


def conclude(name: str, ratio: float, target: float, figures: dict[str, Any], path: Path | None) -> NoReturn:
    """Print `NAME: <ratio>x (target <target>x) holds|falls short`, write the figures, exit 0 or 1."""
    holds = ratio >= target
    if path:
        record = {"benchmark": name, "ratio": ratio, "target": target, "holds": holds, **figures}
        path.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    print(f"{name}: {ratio:.1f}x (target {target:g}x) {'holds' if holds else 'falls short'}")
    sys.exit(0 if holds else 1)
