"""Planning a study of 10,000 jobs against as many jobs of a Snakefile written by hand: a dry run each, in turns.

The study has 5,000 recipes of one step below one network: a prune and an evaluate job each. The Snakefile written by
hand has the same jobs, files, edges, logs and resources, and a function for the one parameter that differs from job to
job; it has no config, no checks, no methods and no fingerprints. `--bare` leaves it inputs, outputs and commands
alone. The check that there is nothing to do is timed on 1,000 jobs that are made.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from common import conclude, parser

TARGET, JOBS, MADE, ROUNDS = 1.2, 10_000, 1_000, 3
CODE = Path(__file__).parent.parent
PLAIN = """
AMOUNTS = [f"{{(index + 1) / ({count} + 1):.6f}}" for index in range({count})]
rule all:
    input:
        expand("net/prune={{amount}}/{{file}}.json", amount=AMOUNTS, file=["model", "evaluate"]),
rule data:
    output: "data.safetensors"
    shell: "touch {{output}}"
rule train:
    input: "data.safetensors"
    output: "net/model.json"
    shell: "touch {{output}}"
rule prune:
    input: "net/model.json"
    output: "net/prune={{amount}}/model.json"
    {prune}
    shell: "touch {{output}}"
rule evaluate:
    input: "net/prune={{amount}}/model.json", "net/model.json", "data.safetensors"
    output: "net/prune={{amount}}/evaluate.json"
    {evaluate}
    shell: "touch {{output}}"
"""
EXTRAS = """log: "logs/net/prune={amount}/RULE.log"
    resources: mem_mb=4000, runtime=240, gpu=0
    params: amount=lambda wildcards: float(wildcards.amount)
"""


def study(count: int) -> dict[str, Any]:
    """A config whose recipes differ in the amount alone."""
    return {
        "study": "large",
        "bases": {"net": {"data": "digits", "model": "mlp", "train": "supervised", "seeds": 0}},
        "recipes": [f"net/prune=magnitude@{(index + 1) / (count + 1):.6f}" for index in range(count)],
    }


def planned(folder: Path, jobs: bool, *options: str) -> float:
    """CPU seconds of a dry run, which has one thread; `jobs` tells whether it is to find any.

    Raises `RuntimeError` with Snakemake's words if it fails or finds otherwise.
    """
    command = [sys.executable, "-m", "snakemake", "--dry-run", "--quiet", "all", "--cores", "1", *options]
    before = _spent()
    answer = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if answer.returncode or ("Nothing to be done" in answer.stdout + answer.stderr) == jobs:
        raise RuntimeError(answer.stdout + answer.stderr)
    return _spent() - before


def _spent() -> float:
    """CPU seconds of all subprocesses so far."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def written(folder: Path, count: int, bare: bool) -> tuple[Path, Path]:
    """Folders with the study and with the Snakefile written by hand."""
    ours, plain = folder / "ours", folder / "plain"
    for each in (ours, plain):
        each.mkdir(parents=True)
    (ours / "study.json").write_text(json.dumps(study(count)))
    extras = {rule: "" if bare else EXTRAS.replace("RULE", rule) for rule in ("prune", "evaluate")}
    (plain / "Snakefile").write_text(PLAIN.format(count=count, **extras))
    return ours, plain


def made(folder: Path, files: Iterable[str], *options: str) -> None:
    """Put empty files in the place of all results, and have Snakemake take them for those of its jobs."""
    for file in files:
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).touch()
    command = [sys.executable, "-m", "snakemake", "--touch", "--quiet", "all", "--cores", "1", *options]
    subprocess.run(command, cwd=folder, capture_output=True, check=True)


def our_files(config: dict[str, Any]) -> list[str]:
    """Every result file of the study."""
    from prunery.workflow import Workflow

    workflow = Workflow(config, CODE / "scripts")
    report = [f"{workflow.root}/{name}" for name in ("report.html", "table.csv", "claims.json")]
    return [*workflow.wanted, f"{workflow.root}/data=digits.safetensors", *report]


def plain_files(count: int) -> list[str]:
    """Every result file of the Snakefile written by hand."""
    amounts = (f"{(index + 1) / (count + 1):.6f}" for index in range(count))
    pairs = (f"net/prune={amount}/{name}.json" for amount in amounts for name in ("model", "evaluate"))
    return ["data.safetensors", "net/model.json", *pairs]


def compare(ours: Path, plain: Path, options: Sequence[str], jobs: bool) -> dict[str, list[float]]:
    """CPU seconds of dry runs of both, in turns; tells each round."""
    what = "planning" if jobs else "nothing to do"
    times: dict[str, list[float]] = {"ours": [], "plain": []}
    for index in range(ROUNDS):
        times["plain"].append(planned(plain, jobs))
        times["ours"].append(planned(ours, jobs, *options))
        print(f"{what}, round {index}: ours {times['ours'][-1]:.1f} s, plain {times['plain'][-1]:.1f} s", flush=True)
    return times


def ratio(times: dict[str, list[float]]) -> float:
    return median(times["ours"]) / median(times["plain"])


def main() -> None:
    command = parser(__doc__)
    command.add_argument("--jobs", type=int, default=JOBS, metavar="N", help="jobs of each workflow")
    command.add_argument("--bare", action="store_true", help="compare with rules of inputs, outputs and commands alone")
    told = command.parse_args()
    options = ("--snakefile", str(CODE / "Snakefile"), "--configfile", "study.json")
    with tempfile.TemporaryDirectory(prefix="prunery-planning-") as scratch:
        planning = compare(*written(Path(scratch) / "large", told.jobs // 2, told.bare), options, jobs=True)
        count = min(told.jobs, MADE) // 2
        ours, plain = written(Path(scratch) / "small", count, told.bare)
        made(ours, our_files(study(count)), *options)
        made(plain, plain_files(count))
        nothing = compare(ours, plain, options, jobs=False)
    print(f"nothing to do, of {2 * count:,} jobs: {ratio(nothing):.2f}x")
    figures = {"jobs": told.jobs, "planning_s": planning, "nothing_to_do_s": nothing}
    conclude("planning", ratio(planning), TARGET, figures, told.json, at_most=True)


if __name__ == "__main__":
    main()
