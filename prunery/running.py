"""What surrounds a run: jobs told where things are, failures told once more at the end, killed runs cleared away."""

from __future__ import annotations

import atexit
import os
import shutil
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from prunery.fingerprint import PACKAGE
from prunery.launch import run_folder
from prunery.locks import claim
from prunery.warm import alive


def set_environment(scripts: Path, imports: Iterable[str], run: int | None) -> None:
    """Tell jobs' processes where things are, by variables of the environment.

    `run` is the Snakemake process that may keep a process with `imports` loaded for its jobs; none in Snakemake's own
    subprocesses, which inherit what the run told.
    """
    told = {"PYTHON": sys.executable, "LAUNCH": str(PACKAGE / "launch.py"), "SCRIPTS": str(scripts)}
    if run:
        told |= {"RUN": str(run), "IMPORTS": " ".join(imports), "PLANNED": str(time.time())}
    os.environ.update({f"PRUNERY_{name}": value for name, value in told.items()})


def start_run(run: int) -> None:
    """Go on where killed runs stopped: lift their lock, remove their temporary files; leave none of one's own."""
    for process in claim(Path.cwd()):
        print(f"prunery: an earlier run here (process {process}) was killed: its lock is lifted", file=sys.stderr)
    for folder in run_folder(str(run)).parent.glob(f"prunery-{os.getuid()}-*"):
        owner = folder.name.rpartition("-")[2]
        if owner.isdigit() and not alive(int(owner)):
            shutil.rmtree(folder, ignore_errors=True)
    atexit.register(shutil.rmtree, run_folder(str(run)), ignore_errors=True)


def failures(run: str) -> Path:
    """The file in which a run notes what its failed jobs said."""
    return run_folder(run) / "failures.txt"


def tell_failures(run: int) -> None:
    """After a run that failed: what every failed job said, once more and together."""
    noted = failures(str(run))
    if noted.exists():
        print(f"\nprunery: these jobs failed\n{noted.read_text('utf-8')}", file=sys.stderr)


def lift_rate_limit(workflow: Any) -> None:
    """Let Snakemake start jobs of this machine without its limit of 100 a second, given its workflow as a run begins.

    For that limit its main loop comes back a second after every round and every finished job, for good: with thousands
    of jobs to do it takes a core of its own (docs/log.md has the figures). Elsewhere than here the limit stays.
    """
    if workflow.local_exec:
        workflow.scheduler.job_rate_limiter = None
