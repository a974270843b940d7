"""The shape of the repository: arrows, sizes, and what may be imported while the Snakefile is parsed."""

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from prunery.registry import registry
from prunery.testing import card_problems

ROOT = Path(__file__).parent.parent
LIBRARY = sorted((ROOT / "prunery").rglob("*.py"))
SCRIPTS = sorted((ROOT / "scripts").glob("*.py"))
PLUGINS = sorted(path for path in (ROOT / "plugins").rglob("*.py") if not path.name.startswith("test_"))
FOLDERS = sorted(path.parent for path in PLUGINS if "register_methods" in path.read_text("utf-8"))
LONGEST_MODULE, LONGEST_FUNCTION, LONGEST_SCRIPT, LONGEST_SNAKEFILE = 260, 45, 25, 45
PARSED = ("prunery", "prunery.registry", "prunery.config", "prunery.workflow", "prunery.sparsity")
"""What the Snakefile imports, beside the plugins."""


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def imported(path: Path) -> Iterator[str]:
    """Absolute names of all modules a file imports, anywhere in it."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield "." * node.level + (node.module or "")


def inside(name: str, package: str) -> bool:
    return name == package or name.startswith(f"{package}.")


def test_there_is_something_to_look_at():
    assert len(LIBRARY) > 20
    assert len(SCRIPTS) >= 10
    assert len(FOLDERS) >= 4


@pytest.mark.parametrize("path", SCRIPTS, ids=relative)
def test_scripts_are_thin_and_import_the_library_only(path):
    text = path.read_text("utf-8")
    assert len(text.splitlines()) <= LONGEST_SCRIPT
    logic = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.For, ast.While, ast.Lambda)
    assert not [node for node in ast.walk(ast.parse(text)) if isinstance(node, logic)]
    foreign = [name for name in imported(path) if not inside(name, "prunery") and name not in sys.stdlib_module_names]
    assert not foreign


@pytest.mark.parametrize("path", LIBRARY, ids=relative)
def test_the_library_knows_no_plugin_and_no_script(path):
    assert not [name for name in imported(path) if name.split(".")[0] in ("prunery_plugins", "plugins", "scripts")]


@pytest.mark.parametrize("path", PLUGINS, ids=relative)
def test_plugins_import_no_other_plugin(path):
    """Absolute imports go to the library; relative ones stay in the plugin's own folder."""
    names = list(imported(path))
    assert not [name for name in names if name.split(".")[0] in ("prunery_plugins", "plugins", "scripts")]
    owner = next((folder for folder in FOLDERS if path.is_relative_to(folder)), None)
    for name in (name for name in names if name.startswith(".")):
        up = len(name) - len(name.lstrip("."))
        assert owner is not None
        assert path.parents[up - 1].is_relative_to(owner), name


@pytest.mark.parametrize("path", [*LIBRARY, *SCRIPTS, *PLUGINS], ids=relative)
def test_modules_and_functions_are_small(path):
    text = path.read_text("utf-8")
    assert len(text.splitlines()) <= LONGEST_MODULE
    functions = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    long = {
        node.name: size for node in functions if (size := (node.end_lineno or 0) - node.lineno + 1) > LONGEST_FUNCTION
    }
    assert not long


def test_the_snakefile_is_a_title_page():
    lines = (ROOT / "Snakefile").read_text("utf-8").splitlines()
    assert len(lines) <= LONGEST_SNAKEFILE
    assert not [line for line in lines if line.lstrip().startswith(("def ", "for ", "while ", "lambda"))]


@pytest.mark.parametrize("folder", FOLDERS, ids=relative)
def test_every_plugin_has_a_card_and_a_test(folder):
    assert list(folder.glob("test_*.py"))
    assert (folder / "README.md").exists()


def test_cards_are_complete():
    problems = {}
    for (stage, name), method in registry().methods.items():
        card = Path(str(sys.modules[method.__module__].__file__)).parent / "README.md"
        if found := card_problems(card.read_text("utf-8"), method) if card.exists() else ["no card"]:
            problems[f"{stage}/{name}"] = found
    assert not problems


def test_every_stage_folder_is_a_package():
    """Or pytest would import `plugins/prune/random` as `random`, in the place of the standard library's."""
    assert not [folder.name for folder in {path.parent for path in FOLDERS} if not (folder / "__init__.py").exists()]


def test_a_plugin_lies_where_its_name_says():
    for stage, name in registry().methods:
        assert (ROOT / "plugins" / stage / name / "__init__.py").exists(), f"{stage}/{name}"


def test_builtin_methods_are_final():
    assert not [
        method.__qualname__ for method in registry().methods.values() if not getattr(method, "__final__", False)
    ]


def test_parsing_imports_nothing_heavy():
    """In a fresh process: the library's front and every plugin, and afterwards no torch among the loaded modules."""
    code = f"""
import importlib, json, sys
for name in {PARSED!r}:
    importlib.import_module(name)
from prunery.registry import build_registry
methods = len(build_registry().methods)
heavy = ("torch", "transformers", "timm", "onnxruntime", "openvino", "sklearn", "scipy", "pandas", "numpy")
print(json.dumps([methods, [name for name in heavy if name in sys.modules]]))
"""
    answer = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    methods, heavy = json.loads(answer)
    assert methods >= 4
    assert heavy == []
