"""Fingerprints: what code a job runs, as a digest that Snakemake sees through `params`.

Hashed are the method's own source files and the library modules that its stage imports, directly or not. Sources are
hashed in a normal form (syntax tree without docstrings), so comments and layout rerun nothing.
"""

from __future__ import annotations

import ast
import hashlib
import sys
from collections.abc import Iterator
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from prunery.contract import Method

PACKAGE = Path(__file__).parent
SELECTION = "prunery.registry"
"""Finds the class that a job was told to use. Jobs answer for that class; how it is found changes no result."""


@cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


@cache
def normal_form(path: Path) -> str:
    """A Python file's syntax tree without texts that stand alone (docstrings), as text; any other file's content."""
    if path.suffix != ".py":
        return path.read_text(encoding="utf-8")
    tree = ast.parse(path.read_text(encoding="utf-8"))  # a tree of its own: it is altered
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            node.body = [each for each in body if not _is_text(each)]  # type: ignore[attr-defined]
    return ast.dump(tree)


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


@cache
def library_files(module: str) -> tuple[Path, ...]:
    """The files of a `prunery` module and of every `prunery` module it imports at run time, sorted."""
    found: set[Path] = set()
    queue = [_module_path(module)]
    while queue:
        path = queue.pop()
        if path in found:
            continue
        found.add(path)
        queue += [_module_path(name) for name in _imports(path)]
    return tuple(sorted(found))


def _module_path(module: str) -> Path:
    relative = Path(*module.split(".")[1:])
    path = PACKAGE / relative.with_suffix(".py") if relative.parts else PACKAGE / "__init__.py"
    return path if path.exists() else PACKAGE / relative / "__init__.py"


@cache
def _imports(path: Path) -> tuple[str, ...]:
    names: list[str] = []
    for node in _runtime_nodes(_tree(path)):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("prunery."):
            names += [node.module] + [f"{node.module}.{alias.name}" for alias in node.names]
    return tuple(name for name in names if name != SELECTION and _module_path(name).exists())


def _runtime_nodes(node: ast.AST) -> Iterator[ast.AST]:
    """Every node below, except what stands under `if TYPE_CHECKING:`."""
    yield node
    if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
        return
    for child in ast.iter_child_nodes(node):
        yield from _runtime_nodes(child)


@cache
def method_files(method: type[Method]) -> tuple[Path, ...]:
    """The source files of a method and the library's that it imports."""
    own = own_files(method)
    names = {*method.library, *(name for path in own for name in _imports(path))}
    borrowed = {file for name in names for file in library_files(name)}
    return tuple(sorted({*own, *borrowed}))


def own_files(method: type[Method]) -> list[Path]:
    """The source files of a method: its package without tests, or its single module."""
    module = sys.modules[method.__module__]
    source = Path(str(module.__file__))
    if not module.__package__:
        return [source]
    return [path for path in source.parent.rglob("*.py") if not path.name.startswith(("test_", "conftest"))]


@cache
def fingerprint(*files: Path) -> str:
    """The digest of files in their normal form. Names count, places and order do not, so moved checkouts agree."""
    digest = hashlib.sha256()
    for part in sorted(f"{path.parent.name}/{path.name}\0{normal_form(path)}\0" for path in files):
        digest.update(part.encode())
    return digest.hexdigest()


@cache
def installed(distribution: str) -> str:
    """The installed version of a distribution, `absent` if there is none."""
    try:
        return version(distribution)
    except PackageNotFoundError:
        return "absent"
