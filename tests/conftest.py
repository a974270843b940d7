"""What several tests share: a study that is run by Snakemake in a folder of its own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
SNAKEMAKE = Path(sys.executable).parent / "snakemake"


class Study:
    """A folder with a config file in which Snakemake is run, as in the repository's root."""

    def __init__(self, folder: Path, config: dict) -> None:
        self.folder, self.config = folder, config

    def snakemake(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        (self.folder / "my.yaml").write_text(yaml.safe_dump(self.config))
        command = [str(SNAKEMAKE), "--snakefile", str(ROOT / "Snakefile"), "--directory", str(self.folder)]
        command += ["--profile", "none", "--workflow-profile", str(ROOT / "profiles" / "default")]
        command += ["--configfile", str(self.folder / "my.yaml"), "--cores", "2", *arguments]
        environment = {name: value for name, value in os.environ.items() if name != "PRUNERY_DATA"}
        return subprocess.run(command, capture_output=True, text=True, env=environment, cwd=ROOT, check=False)

    def planned(self) -> dict[str, int]:
        """How many jobs of each rule a run would start now."""
        answer = self.snakemake("--dry-run")
        assert answer.returncode == 0, answer.stdout + answer.stderr
        rows = re.findall(r"^(\w+) +(\d+)$", answer.stdout + answer.stderr, re.MULTILINE)
        return {rule: int(count) for rule, count in rows if rule not in ("all", "total")}


@pytest.fixture(scope="session")
def make_study() -> Callable[[Path, dict], Study]:
    """Make a study in a folder from a config."""
    return Study
