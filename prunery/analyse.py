"""The stage `analyse`: a study's table of results in, what a method makes of it out."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from prunery.contract import Analyser
from prunery.reporting.results import read_results


def analyse(method: Analyser, root: Path, files: Iterable[Path]) -> dict[str, Any]:
    """What the method finds in result files below `root`, as JSON.

    Raises `PruneryError` naming a file that is missing or damaged, or what the method cannot work with.
    """
    return method.analyse(read_results(root, files, calibrations=True)).model_dump(mode="json")
