"""Whose lock may be lifted: that of a killed run, where no other run is alive."""

import json
import socket
import subprocess
import sys
from pathlib import Path

import pytest

CLAIM = """
import sys
from pathlib import Path
from prunery.locks import claim
print(claim(Path(sys.argv[1])), flush=True)
sys.stdin.read()
"""


@pytest.fixture
def claim(tmp_path):
    """A function that starts a process which claims `tmp_path` and stays; answers it and what it lifted."""
    started: list[subprocess.Popen[str]] = []

    def start() -> tuple[subprocess.Popen[str], list[int]]:
        command = [sys.executable, "-c", CLAIM, str(tmp_path)]
        started.append(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))
        return started[-1], json.loads(started[-1].stdout.readline())

    yield start
    for process in started:
        process.communicate("", timeout=30)


def lock(folder: Path) -> Path:
    """A lock file as Snakemake writes it."""
    file = folder / ".snakemake" / "locks" / "0.input.lock"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("results/model.json\n")
    return file


def marks(folder: Path) -> list[str]:
    return [path.name for path in (folder / ".snakemake" / "runs").iterdir() if not path.name.startswith(".")]


def test_the_lock_of_a_killed_run_is_lifted_and_that_of_a_living_one_is_not(tmp_path, claim):
    first, lifted = claim()
    assert lifted == []
    file = lock(tmp_path)
    second, lifted = claim()
    assert lifted == []
    assert file.exists()
    first.kill()
    first.wait()
    third, lifted = claim()
    assert lifted == []  # the second one is alive: the lock may be its
    assert file.exists()
    for process in (third, second):
        process.kill()
        process.wait()
    last, lifted = claim()
    assert sorted(lifted) == sorted([first.pid, second.pid, third.pid])
    assert not file.exists()
    last.communicate("", timeout=30)
    assert marks(tmp_path) == []  # a run that ends takes its mark along


def test_a_lock_of_something_else_stays(tmp_path, claim):
    file = lock(tmp_path)
    assert claim()[1] == []
    assert file.exists()


def test_a_run_of_another_host_may_be_alive_until_its_lock_is_gone(tmp_path, claim):
    file, mark = lock(tmp_path), tmp_path / ".snakemake" / "runs" / f"not-{socket.gethostname()}.123"
    mark.parent.mkdir()
    mark.touch()
    process, lifted = claim()
    assert lifted == []
    assert file.exists()
    process.communicate("", timeout=30)
    assert marks(tmp_path) == [mark.name]
    file.unlink()  # as `snakemake --unlock` does
    process, lifted = claim()
    assert lifted == []
    process.communicate("", timeout=30)
    assert marks(tmp_path) == []
