"""Kills lose nothing: a study that is killed ten times ends with the bytes of one that was left alone."""

from __future__ import annotations

import random
import subprocess
import time
from pathlib import Path

import psutil
import pytest

pytestmark = pytest.mark.slow

STUDY = {
    "study": "kills",
    "bases": {"net": {"data": "digits", "model": "tiny", "train": "quick", "seeds": "0-1"}},
    "recipes": ["net/prune={magnitude,seb}@0.5/finetune=quick/quantize=ptq"],
    "model": {"tiny": {"method": "mlp", "settings": {"widths": [24]}}},
    "train": {"quick": {"method": "supervised", "settings": {"epochs": 2}}},
    "finetune": {"quick": {"method": "supervised", "settings": {"epochs": 1}}},
}
KILLS = 5  # of Snakemake, and as many of what a job consists of


class Killed:
    """A study whose runs can be killed; its temporary files lie in a folder of their own."""

    def __init__(self, study) -> None:
        self.study, self.temporary = study, study.folder.parent / "temporary"
        self.temporary.mkdir()

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start a run in the background; what it says goes to a file."""
        environment = self.study.environment | {"TMPDIR": str(self.temporary)}
        command = self.study.command(*arguments)
        with (self.study.folder.parent / "said.txt").open("w") as said:
            return subprocess.Popen(command, env=environment, cwd=self.study.code, stdout=said, stderr=said, text=True)

    @property
    def said(self) -> str:
        """What the last run has said."""
        return (self.study.folder.parent / "said.txt").read_text()

    def processes(self) -> list[psutil.Process]:
        """Everything that its runs have started and that lives."""
        return [process for process in psutil.process_iter() if self._is_ours(process)]

    def _is_ours(self, process: psutil.Process) -> bool:
        try:
            ours = process.environ().get("TMPDIR") == str(self.temporary)
            return ours and process.status() != psutil.STATUS_ZOMBIE
        except psutil.Error:
            return False


def wait(condition, seconds: float = 20) -> bool:
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.05)
    return bool(condition())


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def killed(tmp_path, copy_code, make_study) -> Killed:
    return Killed(make_study(tmp_path / "study", STUDY, copy_code(tmp_path / "code")))


def test_ten_kills_at_random_moments_change_no_byte(killed, tmp_path, make_study):
    left_alone = make_study(tmp_path / "alone", STUDY, killed.study.code)
    left_alone.run()
    draw = random.Random(0)
    runs = jobs = lifted = 0
    while runs < KILLS or jobs < KILLS:
        run = killed.start()
        moment = time.monotonic() + draw.uniform(1, 10)
        if jobs < KILLS and wait(lambda: job_processes(killed, run), 60):  # noqa: B023
            time.sleep(draw.uniform(0, 1))
            if victims := job_processes(killed, run):
                draw.choice(victims).kill()
                jobs += 1
            moment = time.monotonic() + draw.uniform(0, 3)
        wait(lambda: run.poll() is not None or time.monotonic() > moment, 60)  # noqa: B023
        if run.poll() is None:
            run.kill()
            runs += 1
        run.wait()
        assert wait(lambda: not killed.processes())
        assert "cannot be locked" not in killed.said
        assert "Traceback" not in killed.said
        lifted += "was killed: its lock is lifted" in killed.said
    assert lifted
    assert killed.start().wait() == 0, killed.said
    assert wait(lambda: not killed.processes())
    assert not list(killed.temporary.glob("prunery-*"))
    assert files(killed.study.results) == files(left_alone.results)


def job_processes(killed: Killed, run: subprocess.Popen[str]) -> list[psutil.Process]:
    """What jobs consist of: clients that Snakemake waits for, forks that work, the process they are forked from."""
    found = [process for process in killed.processes() if process.pid != run.pid]
    return sorted(found, key=lambda process: process.pid)


def test_a_full_disk_is_one_line_and_what_was_written_before_is_kept(killed):
    """A limit on the size of files stands for the disk: the data fit, the networks do not."""
    config = killed.study.config | {"model": {"tiny": {"method": "mlp", "settings": {"widths": [400, 400]}}}}
    killed.study.config = config
    command = ["bash", "-c", 'ulimit -f 600; exec "$@"', "bash"]
    target = "results/kills/net/seeds=0-1/model.json"
    answer = subprocess.run(
        [*command, *killed.study.command(target)],
        capture_output=True,
        text=True,
        env=killed.study.environment,
        cwd=killed.study.code,
        check=False,
    )
    said = [line.strip() for line in answer.stderr.splitlines() if "0.safetensors" in line]
    assert answer.returncode == 1
    assert said[0].startswith("train results/kills/net/seeds=0-1: results/kills/net/seeds=0-1/0.safetensors cannot be ")
    assert "File too large" in said[0]
    assert said == said[:1] * 2  # when it happens, and once more at the end
    assert "Traceback" not in answer.stdout + answer.stderr
    assert killed.study.jobs(target) == {"train net/seeds=0-1"}  # the data is there
    assert list(files(killed.study.results)) == ["data=digits.safetensors"]
