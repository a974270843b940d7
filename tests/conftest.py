"""What several tests share: a study that is run by Snakemake in a folder of its own, from this code or a copy of it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
SNAKEMAKE = Path(sys.executable).parent / "snakemake"
collect_ignore = ["third_party"]  # a package with tests of its own: `test_third_party.py` installs and runs them
CODE = ("Snakefile", "rules", "scripts", "profiles", "envs", "prunery", "plugins")


class Study:
    """A folder with a config file in which Snakemake is run, as in the repository's root.

    `code` is the checkout that runs, `python` the interpreter whose installed plugins are found.
    """

    def __init__(self, folder: Path, config: dict, code: Path = ROOT, python: str | Path = sys.executable) -> None:
        self.folder, self.config, self.code, self.python = folder, config, code, python

    @property
    def results(self) -> Path:
        """The study's results folder."""
        return self.folder / "results" / self.config["study"]

    def command(self, *arguments: str) -> list[str]:
        """The command line of a run; writes the config."""
        self.folder.mkdir(exist_ok=True)
        (self.folder / "my.yaml").write_text(yaml.safe_dump(self.config))
        command = [str(self.python), str(SNAKEMAKE), "--snakefile", str(self.code / "Snakefile")]
        command += ["--directory", str(self.folder), "--profile", "none"]
        command += ["--workflow-profile", str(self.code / "profiles" / "default")]
        command += ["--configfile", str(self.folder / "my.yaml")]
        return [*command, *([] if "--cores" in arguments else ["--cores", "2"]), *arguments]

    @property
    def environment(self) -> dict[str, str]:
        """The variables of a run: without the user's data, and with the copied library where the code is a copy."""
        environment = {name: value for name, value in os.environ.items() if name != "PRUNERY_DATA"}
        return environment | ({"PYTHONPATH": str(self.code / "lib")} if self.code != ROOT else {})

    def snakemake(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run Snakemake to its end."""
        command = self.command(*arguments)
        return subprocess.run(command, capture_output=True, text=True, env=self.environment, cwd=self.code, check=False)

    def run(self, *arguments: str) -> str:
        """Run Snakemake, which must succeed; returns what it said."""
        answer = self.snakemake(*arguments)
        assert answer.returncode == 0, answer.stdout + answer.stderr
        return answer.stdout + answer.stderr

    def jobs(self, *arguments: str) -> set[str]:
        """The jobs that a run would start now, as `rule path`; the path is below the results, a network its folder."""
        said = self.run(*arguments, "--dry-run", "--quiet", "host")
        found = re.findall(r"^rule ([\w-]+):\n(?:    input: .*\n)?    output: ([^,\n]+)", said, re.MULTILINE)
        prefix = f"results/{self.config['study']}/"
        return {f"{rule} {path.removeprefix(prefix).removesuffix('/model.json')}" for rule, path in found}


@pytest.fixture(scope="session")
def make_study() -> Callable[..., Study]:
    """Make a study in a folder from a config."""
    return Study


@pytest.fixture(scope="session")
def copy_code() -> Callable[[Path], Path]:
    """Copy what a run consists of, to be edited: `lib` in the copy makes its library and plugins importable."""

    def copy(folder: Path) -> Path:
        (folder / "lib").mkdir(parents=True)
        for name in CODE:
            source = ROOT / name
            if source.is_dir():
                shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy2(source, folder / name)
        (folder / "lib" / "prunery").symlink_to(folder / "prunery")
        (folder / "lib" / "prunery_plugins").symlink_to(folder / "plugins")
        return folder

    return copy
