"""Look at the environment: versions that fit, backends that load, the processor, GPU, memory, data.

Exit code 0 if what Prunery needs works; else 1, and each thing that fails has a line with the remedy.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from prunery.commands.probes import BAD, PROBES, failed
from prunery.commands.text import table

PATIENCE = 120
"""Seconds that a process of probes may take."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    parser.add_argument("--data", type=Path, metavar="FOLDER", help="the data folder; PRUNERY_DATA if not given")


def run(options: argparse.Namespace) -> int:
    """Print what the probes found."""
    where = {"PRUNERY_DATA": str(options.data.resolve())} if options.data else {}
    found = dict(_results([name for part in PROBES.values() for name in part], where))
    for heading, part in PROBES.items():
        print(f"{heading}\n{table([row for name in part for row in found[name]], '  ')}\n")
    broken = [what for rows in found.values() for state, what, _ in rows if state == BAD]
    print(f"to be mended: {', '.join(broken)}" if broken else "all that is needed works")
    return 1 if broken else 0


def _results(names: list[str], where: dict[str, str]) -> Iterator[tuple[str, list[list[str]]]]:
    """What each probe found. One that ends its process is told of; the others run in the next process."""
    while names:
        lines, ended = _probe(names, where)
        done = [(line["probe"], line["found"]) for line in lines]
        yield from done
        names = names[len(done) :]
        if names:
            yield names[0], [list(failed(names[0], ended))]
            names = names[1:]


def _probe(names: list[str], where: dict[str, str]) -> tuple[list[dict[str, Any]], str]:
    """The JSON lines of one process, and how it ended."""
    command = [sys.executable, "-m", "prunery.commands.probes", *names]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, **where}
    )
    try:
        output, errors = process.communicate(timeout=PATIENCE)
        ended = _ended(process.returncode, errors)
    except subprocess.TimeoutExpired:
        process.kill()
        output, errors = process.communicate()
        ended = f"took more than {PATIENCE} seconds"
    return [json.loads(line) for line in output.splitlines() if line.startswith('{"probe"')], ended


def _ended(code: int, errors: str) -> str:
    if code < 0:
        return f"its process was ended by {signal.Signals(-code).name}"
    return f"its process ended with {code}: {(errors.strip().splitlines() or ['no word'])[-1]}"
