"""What surrounds a run: mistakes told in one line, jobs told where things are, failures told once more at the end."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from prunery.errors import PruneryError
from prunery.fingerprint import PACKAGE


@contextmanager
def report_mistakes() -> Iterator[None]:
    """While the Snakefile is parsed: a mistake in the config is one line and exit code 1."""
    try:
        yield
    except PruneryError as error:
        print(f"prunery: {error}", file=sys.stderr)
        sys.exit(1)


def set_environment(scripts: Path, imports: Iterable[str], run: int | None) -> None:
    """Tell jobs' processes where things are, by variables of the environment.

    `run` is the Snakemake process that may keep a process with `imports` loaded for its jobs; none in Snakemake's own
    subprocesses, which inherit what the run told.
    """
    told = {"PYTHON": sys.executable, "LAUNCH": str(PACKAGE / "launch.py"), "SCRIPTS": str(scripts)}
    if run:
        told |= {"RUN": str(run), "IMPORTS": " ".join(imports), "FAILURES": str(_failures(run))}
    os.environ.update({f"PRUNERY_{name}": value for name, value in told.items()})


def tell_failures(run: int) -> None:
    """After a run that failed: what every failed job said, once more and together."""
    failures = _failures(run)
    if failures.exists():
        print(f"\nprunery: these jobs failed\n{failures.read_text('utf-8')}", file=sys.stderr)
        failures.unlink()


def _failures(run: int) -> Path:
    return Path(tempfile.gettempdir()) / f"prunery-failures-{os.getuid()}-{run}.txt"
