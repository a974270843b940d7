"""Start a plugin from a template: a method that works, its card, and a test.

prunery new my_methods/relative          a folder; name it under `plugins:` in a config
prunery new relative --package           a package that can be installed and published
prunery new sharp --stage quantize       another stage
"""

from __future__ import annotations

import argparse
import re
import sys
from importlib.util import find_spec
from pathlib import Path

from prunery import __version__
from prunery.commands.templates import STAGES, Names, rendered
from prunery.contract import TRANSFORMS
from prunery.errors import PruneryError, unknown
from prunery.registry import registry


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    parser.add_argument("name", type=Path, help="the method's name, or a folder of that name")
    parser.add_argument("--stage", default="prune", help=f"one of {', '.join(STAGES)}; prune if not given")
    parser.add_argument("--package", action="store_true", help="a package with pyproject.toml and an entry point")


def run(options: argparse.Namespace) -> int:
    """Write the plugin and say how to use it."""
    names = Names(options.stage, options.name.name)
    _check(names)
    folder = options.name.parent / names.distribution if options.package else options.name
    if not options.package:
        _check_hiding(names.name)
    if folder.exists():
        raise PruneryError(f"{folder} is there already, and nothing is overwritten: choose another name or folder")
    files = rendered(names, options.package, __version__)
    for path, text in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text, encoding="utf-8")
    print("\n".join([f"{folder}/", *(f"  {path}" for path in files), "", *_advice(names, folder, options.package)]))
    return 0


def _check(names: Names) -> None:
    """Refuse what could not be registered."""
    if names.stage not in STAGES:
        raise PruneryError(
            f"there is no template: {unknown('stage', names.stage, STAGES)}; docs/write_a_method.md shows every stage"
        )
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_-]*", names.name):
        raise PruneryError(f"{names.name!r} is no name of a method: write letters, digits, '_' and '-', a letter first")
    key = (names.stage, names.name)
    if key in registry().methods:
        owner = " ".join(registry().distributions[key])
        raise PruneryError(f"{names.stage} method {names.name!r} is there already, of {owner}: choose another name")


def _check_hiding(name: str) -> None:
    """A folder with an `__init__.py` is a module to pytest; it must not take the place of one that others import."""
    if name in sys.stdlib_module_names or (name.isidentifier() and find_spec(name)):
        raise PruneryError(f"a folder {name!r} would hide the module of that name from its test: choose another name")


def _advice(names: Names, folder: Path, package: bool) -> list[str]:
    python = Path(sys.executable)
    shown = python.relative_to(Path.cwd()) if python.is_relative_to(Path.cwd()) else python
    installed = [f"install  uv pip install --python {shown} -e {folder}"] if package else []
    use = _use(names) if package else f"plugins: [{folder}]   {_use(names)}"
    return [*installed, f"test     {shown} -m pytest {folder}", f"use      in a config: {use}"]


def _use(names: Names) -> str:
    if names.stage in TRANSFORMS:
        return f"recipes: [net/{names.stage}={names.name}]"
    if names.stage in ("data", "model", "train"):
        return f"bases: {{net: {{{names.stage}: {names.name}, ...}}}}"
    if names.stage == "score":
        return f"settings: {{score: {names.name}}} of a method that removes channels"
    return f"measures: {{{names.stage}: [{names.name}]}}"
