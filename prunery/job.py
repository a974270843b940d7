"""One job of the workflow: from the command line that Snakemake runs to a call into the library, and back to files.

`python -m prunery.job --job JSON --files JSON --log FILE --threads N` runs the stage's script, which asks `current()`
for its inputs. Whatever goes wrong ends here: a user's mistake as one line, anything else as one line and a traceback
in the log; both with exit code 1.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import runpy
import sys
import traceback
from collections.abc import Iterable
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prunery import registry as registries
from prunery.contract import Architecture, Method
from prunery.errors import PruneryError
from prunery.identity import check_unedited
from prunery.machine import hold_threads
from prunery.packing import unpack
from prunery.recipe import parse_seeds
from prunery.running import failures

if TYPE_CHECKING:
    from prunery.checkpoint import Checkpoint, Replica
    from prunery.data import Dataset

log = logging.getLogger("prunery")


class Job:
    """A job's settings and files, and the few ways in and out of them."""

    def __init__(self, told: dict[str, Any]) -> None:
        self.told = told
        self.stage: str = told["stage"]

    # --- methods -----------------------------------------------------------------------------------------------------

    @cached_property
    def method(self) -> Any:
        """The configured method of this job."""
        return self._configured(self.stage, self.told)

    @property
    def architectures(self) -> list[Architecture]:
        """The configured architectures of a train job: its base's, or one for each of the bases it trains together."""
        told = self.told["model"]
        together = self.told.get("together", [["", told["settings"]]])
        methods = [self._configured("model", told | {"settings": settings}) for _, settings in together]
        return [method for method in methods if isinstance(method, Architecture)]

    def backends(self) -> dict[str, Any]:
        """The configured backends of a bench job, by name."""
        return {told["method"]: self._configured("backend", told) for told in self.told["backends"]}

    def _configured(self, stage: str, told: dict[str, Any]) -> Method:
        return registries.registry().configured(stage, told["method"], told["settings"])

    @property
    def seeds(self) -> list[int]:
        """The seeds of a train job."""
        first, last = parse_seeds(self.told["seeds"])
        return list(range(first, last + 1))

    # --- inputs ------------------------------------------------------------------------------------------------------

    def path(self, name: str) -> Path:
        """The single input file of that name."""
        return Path(self.told["input"][name][0])

    def paths(self, name: str) -> list[Path]:
        """The input files of that name; there may be none."""
        return list(map(Path, self.told["input"].get(name, [])))

    def checkpoint(self, name: str) -> Checkpoint:
        """The checkpoint whose record is the input of that name."""
        from prunery.network import load_checkpoint

        return load_checkpoint(self.path(name).parent)

    def dataset(self) -> Dataset:
        """The prepared data."""
        from prunery.data import load_dataset

        return load_dataset(self.path("data"))

    def measured(self) -> dict[int, dict[str, Any]]:
        """The measurements the method needs: seed -> variant -> key -> statistic -> value.

        Of evaluations the key is the folder of the network, in the order of the recipe.
        """
        from prunery.measured import load_measured

        return load_measured(self.paths("measured"))

    # --- outputs -----------------------------------------------------------------------------------------------------

    def output(self, name: str) -> Path:
        """The output file of that name."""
        return self.outputs(name)[0]

    def outputs(self, name: str) -> list[Path]:
        """The output files of that name."""
        told = self.told["output"][name]
        return [Path(told)] if isinstance(told, str) else list(map(Path, told))

    def save(self, checkpoint: Checkpoint, record: Path) -> None:
        """Write a checkpoint with its provenance; `record` is its `model.json`."""
        from prunery.checkpoint import save

        kept = ("stage", "variant", "method", "distribution", "version", "versions", "settings", "fingerprint")
        checkpoint.provenance |= {name: self.told[name] for name in kept}
        save(checkpoint, record.parent)

    def save_trained(self, trained: Iterable[tuple[Checkpoint, Any]]) -> None:
        """Write the checkpoints and histories of a train job, in the order of its outputs."""
        places = zip(self.outputs("network"), self.outputs("history"), trained, strict=True)
        for record, history, (checkpoint, epochs) in places:
            self.save_json(history, epochs)
            self.save(checkpoint, record)

    def save_child(
        self, parent: Checkpoint, replicas: dict[int, Replica], provenance: dict[str, Any] | None = None
    ) -> None:
        """Write what this job made of its parent, if it passes the gates."""
        from prunery import gates

        diverged = {int(seed) for seed in (provenance or {}).get("diverged", ())}
        gates.check(self.method, parent, replicas, diverged)
        for line in gates.warnings(parent, replicas):
            self.progress(f"beware: {line}")
        self.save(parent.child(replicas, provenance or {}), self.output("network"))

    def save_evaluation(self, figures: dict[str, Any]) -> None:
        """Write an evaluation, if the recipe keeps above the accuracy that the config asks of it."""
        from prunery import gates

        if "floor" in self.told:
            gates.check_floor(figures, self.told["floor"], f"recipe {self.output('measured').parent}")
        self.save_json("measured", figures)

    def save_json(self, output: str | Path, value: Any) -> None:
        """Write JSON to the output of that name, or to one of several."""
        from prunery.files import save_json

        save_json(value, self.output(output) if isinstance(output, str) else output)

    def save_findings(self, findings: Any) -> None:
        """Write a measure's findings."""
        from prunery.measured import save_findings

        save_findings(findings, self.output("measured"))

    def progress(self, line: str) -> None:
        """Tell the user (terminal and log) how far this job is."""
        log.info("%s: %s", self.title, line)

    @property
    def title(self) -> str:
        """How this job is called on the terminal: the rule and what it makes."""
        if "network" not in self.told["output"]:
            return f"{self.stage} {self.output(next(iter(self.told['output'])))}"
        made = self.outputs("network")
        more = f" and {len(made) - 1} more" if len(made) > 1 else ""
        return f"{self.stage} {made[0].parent}{more}"


_current: Job | None = None


def current() -> Job:
    """The job that the running script belongs to."""
    if _current is None:
        raise PruneryError("scripts are run by the workflow: snakemake, not python, starts them")
    return _current


def main(arguments: Iterable[str]) -> int:
    """Run one job; returns the exit code."""
    options = _options(arguments)
    told = json.loads(options.job) | json.loads(unpack(options.files))
    try:
        _start_logging(options.log)
        _run(options, told)
    except (PruneryError, OSError) as error:
        return _fail(f"{Job(told).title}: {error}")
    except Exception as error:  # the boundary: one line for the terminal, the rest for the log
        return _fail(f"{Job(told).title}: {type(error).__name__}: {error} (traceback in {options.log})")
    return 0


def _fail(said: str) -> int:
    """Say what went wrong in one line, and note it for the end of the run."""
    said = " ".join(said.split())
    log.error(said)
    log.debug(traceback.format_exc())
    if run := os.environ.get("PRUNERY_RUN"):
        with suppress(OSError), failures(run).open("a", encoding="utf-8") as file:
            file.write(f"  {said}\n")
    return 1


def _options(arguments: Iterable[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="prunery.job", description=__doc__)
    for name in ("--job", "--files"):
        parser.add_argument(name, required=True)
    parser.add_argument("--log", type=Path, required=True)
    parser.add_argument("--threads", type=int, default=1)
    return parser.parse_args(list(arguments))


def _start_logging(path: Path) -> None:
    """Progress and errors to the terminal; those and tracebacks to the job's log."""
    logging.raiseExceptions = False  # a log that cannot be written (disk full) is no reason to print tracebacks
    path.parent.mkdir(parents=True, exist_ok=True)
    terminal = logging.StreamHandler(sys.stderr)
    terminal.setLevel(logging.INFO)
    log.handlers = [terminal, logging.FileHandler(path, mode="w", encoding="utf-8")]
    for handler in log.handlers:
        handler.setFormatter(logging.Formatter("%(message)s"))
    log.setLevel(logging.DEBUG)


def _run(options: argparse.Namespace, told: dict[str, Any]) -> None:
    global _current
    hold_threads(options.threads)
    registries.use_folders(tuple(told.get("plugins", ())))
    _current = Job(told)
    scripts = Path(os.environ["PRUNERY_SCRIPTS"])
    if planned := os.environ.get("PRUNERY_PLANNED"):
        check_unedited(told, registries.registry(), scripts, float(planned))
    runpy.run_path(str(scripts / f"{_current.stage}.py"), run_name="__main__")


if __name__ == "__main__":
    from prunery import job  # scripts import this module by name: there must be one of it, not a second as __main__

    sys.exit(job.main(sys.argv[1:]))
