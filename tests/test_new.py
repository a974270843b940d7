"""`prunery new`: plugins from templates pass the contract, also as installed packages; nothing is overwritten."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest

from prunery.cli import main
from prunery.commands.templates import STAGES, TEMPLATES
from prunery.config import read_study
from prunery.contract import BASES
from prunery.registry import build_registry

WHEEL = "import sys; from setuptools.build_meta import build_wheel; print(build_wheel(sys.argv[1]))"


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_every_stage_but_those_of_machines_has_a_template():
    assert set(BASES) - set(STAGES) == {"bench", "backend"}
    assert {path.name for path in TEMPLATES.iterdir()} == {*STAGES.values(), "plugin", "package"}


def test_a_plugin_is_three_files_and_says_how_to_go_on(here, capsys):
    assert main(["new", "my_methods/row-norm"]) == 0
    folder = here / "my_methods" / "row-norm"
    assert sorted(path.name for path in folder.iterdir()) == ["README.md", "__init__.py", "test_row_norm.py"]
    code = (folder / "__init__.py").read_text()
    assert len([line for line in code.splitlines() if line.strip()]) <= 30
    assert "class RowNorm(LayerPruner):" in code
    out = capsys.readouterr().out
    assert f"test     {sys.executable} -m pytest my_methods/row-norm\n" in out
    assert "plugins: [my_methods/row-norm]   recipes: [net/prune=row-norm]" in out


def test_it_can_be_used_at_once_in_a_config(here):
    assert main(["new", "row-norm"]) == 0
    registry = build_registry(("row-norm",))
    assert registry.broken == {}
    keys = {"bases": {"net": {"data": "digits", "model": "mlp", "train": "supervised"}}, "plugins": ["row-norm"]}
    study = read_study(keys | {"recipes": ["net/prune=row-norm@0.7"]})
    (step,) = study.all_recipes()[0].steps
    assert study.method(registry, "prune", step.variant, step.amount).settings.sparsity == 0.7


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["magnitude"], "prune method 'magnitude' is there already, of prunery 0.1.0: choose another name"),
        (["9lives"], "'9lives' is no name of a method"),
        (["a b"], "'a b' is no name of a method"),
        (["taken"], "taken is there already, and nothing is overwritten"),
        (["json"], "a folder 'json' would hide the module of that name"),
        (["numpy"], "a folder 'numpy' would hide the module of that name"),
        (["mine", "--stage", "bench"], "there is no template: unknown stage 'bench'"),
        (["mine", "--stage", "prun"], "unknown stage 'prun': did you mean 'prune'?"),
    ],
)
def test_mistakes_are_one_line_and_write_nothing(here, capsys, arguments, says):
    (here / "taken").mkdir()
    assert main(["new", *arguments]) == 1
    error = capsys.readouterr().err
    assert says in error
    assert error.count("\n") == 1
    assert [path.name for path in here.rglob("*")] == ["taken"]


@pytest.mark.slow
def test_generated_plugins_and_an_installed_package_pass_their_own_tests(here, capsys):
    """Eleven folders, and a package that is built as a wheel and unpacked, all in one process of pytest."""
    for stage in STAGES:
        assert main(["new", f"my_methods/my-{stage}", "--stage", stage]) == 0
    assert main(["new", "row-norm", "--package"]) == 0
    package = here / "prunery-row-norm"
    command = [sys.executable, "-c", WHEEL, str(here)]
    subprocess.run(command, cwd=package, check=True, capture_output=True)
    (wheel,) = here.glob("prunery_row_norm-0.1.0-*.whl")
    ZipFile(wheel).extractall(here / "site")
    environment = os.environ | {"PYTHONPATH": str(here / "site")}
    listed = [Path(sys.executable).parent / "prunery", "methods", "row-norm"]
    answer = subprocess.run(listed, capture_output=True, text=True, env=environment, check=True)
    assert answer.stdout.startswith("prune=row-norm, of prunery-row-norm 0.1.0\n\nZeroes, in each layer, ")
    command = [
        sys.executable,
        "-W",
        "error",
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "my_methods",
        str(package),
    ]
    answer = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert answer.returncode == 0, answer.stdout
    passed = re.search(r"^(\d+) passed in", answer.stdout, re.MULTILINE)
    assert passed
    assert int(passed[1]) >= 12 * 10
