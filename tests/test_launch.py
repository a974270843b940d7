"""Starting jobs: the warm process forks them, reports their exit codes, and ends with its run."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from prunery import launch

SCRIPT = """
import os, sys, time
from prunery.errors import PruneryError
from prunery.job import current
job = current()
act = job.told["act"]
if act == "fail": raise PruneryError("the cause: the remedy")
if act == "crash": 1 / 0
if act == "die": os.kill(os.getpid(), 9)
if act == "sleep": time.sleep(60)
job.output("network").write_text(os.environ["MARK"] + str(os.getppid()))
"""


@pytest.fixture
def run_job(tmp_path, monkeypatch):
    """A function that runs one job as Snakemake would; the run that owns the warm process is a `sleep`."""
    run = subprocess.Popen(["sleep", "120"])
    started: list[subprocess.Popen] = []
    (tmp_path / "scripts").mkdir()
    (tmp_path / "scripts" / "prune.py").write_text(SCRIPT)

    def start(act: str, warm: bool = True) -> tuple[subprocess.Popen, Path]:
        output = tmp_path / "out" / f"{act}.txt"
        output.parent.mkdir(exist_ok=True)
        files = json.dumps({"output": {"network": str(output)}, "input": {}})
        command = [sys.executable, "-I", "-S", launch.__file__]
        command += [
            "--job",
            json.dumps({"stage": "prune", "act": act}),
            "--files",
            files,
            "--log",
            str(tmp_path / "logs" / f"{act}.log"),
        ]
        environment = {**os.environ, "MARK": "hello ", "TMPDIR": str(tmp_path)}
        environment["PRUNERY_SCRIPTS"] = str(tmp_path / "scripts")
        environment |= {"PRUNERY_RUN": str(run.pid)} if warm else {}
        started.append(subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True))
        return started[-1], output

    yield start, run, tmp_path
    run.kill()
    run.wait()
    for process in started:
        process.kill()
        process.wait()
        process.stderr.close()


def _wait(condition, seconds: float = 30) -> bool:
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.05)
    return bool(condition())


def _warm_processes(folder: Path) -> list[int]:
    found = subprocess.run(["pgrep", "-f", f"prunery.warm {folder}"], capture_output=True, text=True, check=False)
    return [int(line) for line in found.stdout.split()]


def test_jobs_fork_from_one_warm_process_and_report_how_they_ended(run_job):
    start, run, folder = run_job
    process, first = start("a")
    assert process.wait(120) == 0
    process, second = start("b")
    assert process.wait(30) == 0
    assert first.read_text() == second.read_text()  # the same parent process forked both
    assert first.read_text().startswith("hello ")  # with the client's own environment

    process, _ = start("fail")
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 1
    assert errors.strip().endswith("the cause: the remedy")
    assert len(errors.strip().splitlines()) == 1

    process, _ = start("crash")
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 1
    assert "ZeroDivisionError" in errors
    assert "Traceback" not in errors
    assert "Traceback" in (folder / "logs" / "crash.log").read_text()

    process, _ = start("die")
    assert process.wait(30) == 128 + signal.SIGKILL

    process, _ = start("sleep")
    assert _wait(lambda: len(_warm_processes(folder)) == 2)
    process.kill()  # the client: its job must not go on without it
    assert _wait(lambda: len(_warm_processes(folder)) == 1)

    run.kill()
    run.wait()
    assert _wait(lambda: not _warm_processes(folder))


def test_without_a_run_a_job_has_its_own_interpreter(run_job):
    start, _, folder = run_job
    process, output = start("alone", warm=False)
    assert process.wait(120) == 0
    assert output.read_text() == f"hello {os.getpid()}"
    assert not _warm_processes(folder)
