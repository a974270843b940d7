"""Say whether a result is up to date, and if not, what would make it again and why.

Snakemake decides, in a dry run; what it calls changed params is told setting by setting.
"""

from __future__ import annotations

import argparse
import json
from contextlib import chdir
from pathlib import Path
from typing import Any

from prunery.commands.changes import changes
from prunery.commands.configfile import read_config
from prunery.commands.dryrun import Planned, dry_run, record, told
from prunery.commands.targets import target
from prunery.commands.text import paragraph
from prunery.errors import PruneryError
from prunery.workflow import Workflow

PARAMS = "Params have changed since last execution"
TOLD_ELSEWHERE = ("Input files updated by another job", "Missing output files", PARAMS)
"""What Snakemake says of jobs that follow from others, of files that anyone can miss, and of params."""
SHOWN = 6
"""Jobs of one kind that are listed."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    parser.add_argument("path", help="a file or a recipe's folder below results/")
    parser.add_argument("--configfile", type=Path, help="the study; config.yaml if not given")
    parser.add_argument("--profile", help="smoke, cpu or paper; the config's own if not given")
    parser.add_argument("--snakefile", type=Path, default=Path("Snakefile"), help="./Snakefile if not given")
    parser.add_argument("--directory", type=Path, default=Path(), help="where results/ lies, as Snakemake's option")


def run(options: argparse.Namespace) -> int:
    """Print the verdict and its reasons."""
    snakefile, directory = options.snakefile.resolve(), options.directory.resolve()
    if not snakefile.is_file():
        raise PruneryError(f"there is no {options.snakefile}: run this in Prunery's folder, or give --snakefile")
    if not directory.is_dir():
        raise PruneryError(f"there is no folder {options.directory}: correct --directory")
    configfile = options.configfile.resolve() if options.configfile else directory / "config.yaml"
    arguments = ["--configfile", str(configfile)] if options.configfile else []
    arguments += ["--config", f"profile={options.profile}"] if options.profile else []
    with chdir(directory):
        study = Workflow(read_config(configfile, options.profile), snakefile.parent / "scripts")
        wanted = target(study, options.path)
        print("\n".join(explain(study, wanted, dry_run(snakefile, directory, wanted, arguments))))
    return 0


def explain(study: Workflow, wanted: str, jobs: list[Planned]) -> list[str]:
    """The verdict, the jobs that have a reason of their own, and those that follow from them."""
    if not jobs:
        return [f"{wanted} is up to date"]
    groups: dict[tuple[str, ...], list[Planned]] = {}
    for job in jobs:
        own = own_reasons(study, job)
        groups.setdefault((job.rule, *own) if own else (), []).append(job)
    following = groups.pop((), [])
    lines = [f"{wanted} {_verdict(wanted, len(jobs))}"]
    for (_, *own), alike in groups.items():
        lines += ["", *_listed(alike), *(paragraph(text, "    ") for text in own)]
    if following:
        lines += ["", "and after that, since their inputs are made again:", *_listed(following)]
    return lines


def _listed(jobs: list[Planned]) -> list[str]:
    """A line per job, the first few of many."""
    more = [f"  and {len(jobs) - SHOWN} more"] if len(jobs) > SHOWN else []
    return [f"  {job.rule}  {job.outputs[0]}" for job in jobs[:SHOWN]] + more


def _verdict(wanted: str, count: int) -> str:
    state = "is out of date" if Path(wanted).exists() else _absence(wanted)
    return f"{state}: {count} job{'s' if count > 1 else ''} would run"


def own_reasons(study: Workflow, job: Planned) -> list[str]:
    """Why a job would run, apart from inputs that other jobs make again."""
    noted = next((found for file in job.outputs if (found := record(Path(), file))), {})
    was, told_now = told(noted), _told_now(study, job)
    absent = [f"{Path(file).name} {_absence(file)}" for file in job.outputs if not Path(file).exists()]
    own = list(dict.fromkeys(absent))
    for reason, files in job.reasons.items():
        own += _sentences(reason, files, job, noted)
    if was:
        own += [str(change) for change in changes(was, told_now)]
    if not own and PARAMS in job.reasons:
        own.append("its settings or the code behind it have changed; what they were is not on record")
    return own


def _told_now(study: Workflow, job: Planned) -> dict[str, Any]:
    asked = {"report": lambda _: study.report_job()} | {batch.rule: batch.job for batch in study.together}
    found: dict[str, Any] = json.loads(asked.get(job.rule, study.job(job.rule))(job.wildcards))
    return found


def _sentences(reason: str, files: tuple[str, ...], job: Planned, noted: dict[str, Any]) -> list[str]:
    """One of Snakemake's reasons, told with what is on record."""
    if reason in TOLD_ELSEWHERE:
        return []
    if reason == "Incomplete output files":
        return [f"a run was stopped while it wrote {Path(file).name}" for file in files]
    if reason == "Updated input files":
        return [_updated(file, noted) for file in files]
    if reason.startswith("Set of input files"):
        return _other_inputs(set(noted.get("input", ())), set(job.inputs))
    if reason.startswith("Code has changed"):
        return [f"the rule {job.rule} itself has changed: how it starts its job"]
    if reason.startswith("Software environment"):
        return ["the software environment that the rule names has changed"]
    return [" ".join((reason[:1].lower() + reason[1:], *files))]


def _absence(file: str) -> str:
    return "was made before, but is gone" if record(Path(), file) else "was never made"


def _updated(file: str, noted: dict[str, Any]) -> str:
    if file in noted.get("input_checksums", {}):
        return f"the content of its input {file} has changed"
    return f"its input {file} is newer than what was made of it"


def _other_inputs(before: set[str], now: set[str]) -> list[str]:
    gone = [f"it no longer reads {file}" for file in sorted(before - now)]
    return gone + [f"it now reads {file}, too" for file in sorted(now - before)]
