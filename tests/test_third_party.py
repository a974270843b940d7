"""A stranger's package (`tests/third_party`), installed from its folder: from listing it to a version that is broken.

It goes into a virtual environment of its own that sees what is installed here; nothing is fetched.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
UV = shutil.which("uv", path=f"{ROOT / '.uv' / 'bin'}{os.pathsep}{os.environ['PATH']}")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(UV is None, reason="uv, which installs the package, is not at hand"),
]

NET = "net/seeds=0-1"
PRUNED = f"{NET}/prune=columns@0.5"
STUDY = {
    "study": "theirs",
    "bases": {"net": {"data": "digits", "model": "tiny", "train": "quick", "seeds": "0-1"}},
    "recipes": ["net/prune={columns,magnitude}@0.5", "net/prune=columns@0.5/finetune=quick"],
    "model": {"tiny": {"method": "mlp", "settings": {"widths": [24]}}},
    "train": {"quick": {"method": "supervised", "settings": {"epochs": 2}}},
    "finetune": {"quick": {"method": "supervised", "settings": {"epochs": 1}}},
}
LISTED = """
from prunery.registry import registry
print(*registry().distributions["prune", "columns"], registry().broken)
"""


class Package:
    """The stranger's package in a folder where it can be edited, and the environment it is installed into."""

    def __init__(self, folder: Path) -> None:
        self.source, self.python = folder / "source", folder / "env" / "bin" / "python"
        shutil.copytree(ROOT / "tests" / "third_party", self.source)
        run(sys.executable, "-m", "venv", "--without-pip", str(folder / "env"))
        here = sysconfig.get_path("purelib")
        (site,) = (folder / "env").glob("lib/python*/site-packages")
        (site / "here.pth").write_text(f"import site; site.addsitedir({here!r})\n")
        self.install()

    def install(self) -> None:
        """Install the folder as it is now, in the place of what was installed before."""
        options = ("--no-deps", "--no-build-isolation", "--offline", "--no-cache", "--reinstall")
        run(str(UV), "pip", "install", "--quiet", "--python", str(self.python), *options, str(self.source))

    def replace(self, file: str, old: str, new: str) -> None:
        """Edit the source and install it."""
        path = self.source / file
        assert old in path.read_text()
        path.write_text(path.read_text().replace(old, new))
        self.install()


def run(*command: str) -> str:
    environment = {name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"}
    answer = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert answer.returncode == 0, answer.stdout + answer.stderr
    return answer.stdout


@pytest.fixture(scope="module")
def package(tmp_path_factory) -> Package:
    return Package(tmp_path_factory.mktemp("package"))


@pytest.fixture(scope="module")
def study(package, tmp_path_factory, copy_code, make_study):
    """A study with the package's method that has run."""
    folder, config = tmp_path_factory.mktemp("theirs"), json.loads(json.dumps(STUDY))
    made = make_study(folder / "study", config, copy_code(folder / "code"), package.python)
    made.run()
    return made


def test_it_is_listed_and_its_own_tests_pass_the_contract_suite_among_them(package):
    assert run(str(package.python), "-c", LISTED) == "prunery-columns 0.1.0 {}\n"
    said = run(str(package.python), "-m", "pytest", "-q", "-p", "no:cacheprovider", str(package.source))
    assert int(said.split(" passed")[0].split()[-1]) > 10
    assert "skipped" not in said


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"sparsity": 1.5}, "setting 'sparsity': it should be less than 1 (given: 1.5)"),
        ({"sparsty": 0.5}, "unknown setting 'sparsty': did you mean 'sparsity'?"),
    ],
)
def test_its_settings_are_checked_before_any_job(study, settings, said):
    study.config["prune"] = {"mine": {"method": "columns", "settings": settings}}
    answer = study.snakemake()
    del study.config["prune"]
    assert answer.returncode == 1
    (line,) = [line for line in answer.stderr.splitlines() if line.startswith("prunery: ")]
    assert line.startswith("prunery: prune.mine: prune method 'columns'")
    assert line.endswith(said)


def test_it_runs_in_the_workflow_and_the_checkpoint_says_whose_it_is(study):
    record = json.loads((study.results / PRUNED / "model.json").read_text())
    assert record["provenance"]["distribution"] == "prunery-columns"
    assert record["provenance"]["version"] == "0.1.0"
    masks = {key: facts for key, facts in record["replicas"]["0"]["tensors"].items() if key.endswith("/mask")}
    assert [facts["zeros"] for facts in masks.values()] == [0.5, 0.5]
    assert study.jobs() == set()


def test_a_new_version_runs_its_jobs_and_their_descendants(study, package):
    package.replace("pyproject.toml", "0.1.0", "0.2.0")
    assert study.jobs() == {
        f"prune {PRUNED}",
        f"evaluate {PRUNED}/evaluate=standard.json",
        f"finetune {PRUNED}/finetune=quick",
        f"evaluate {PRUNED}/finetune=quick/evaluate=standard.json",
        "report report.html",
    }
    study.run()
    assert json.loads((study.results / PRUNED / "model.json").read_text())["provenance"]["version"] == "0.2.0"
    assert study.jobs() == set()


def test_a_broken_version_stops_only_who_uses_it(study, package):
    package.replace("prunery_columns/__init__.py", "from pydantic", "import no_such_library\nfrom pydantic")
    answer = study.snakemake()
    said = [line for line in answer.stderr.splitlines() if line.startswith("prunery: ")]
    assert answer.returncode == 1
    assert len(said) == 1
    assert "unknown prune variant 'columns'" in said[0]
    assert "plugin columns was set aside: import failed: ModuleNotFoundError: No module named 'no_such_lib" in said[0]
    assert "Traceback" not in answer.stderr
    study.config["recipes"] = ["net/prune=magnitude@0.5"]
    assert study.jobs() == {"report report.html"}
    study.run()
