"""Docstrings from the source files of installed packages, by parsing them."""

from __future__ import annotations

import ast
import gc
import hashlib
import importlib.util
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count, islice
from pathlib import Path
from typing import Protocol

from prunery.errors import PruneryError

LEFT_OUT = {"tests", "test", "testing", "externals", "_vendor"}
"""Folders whose docstrings are few, or belong to some other package."""

NAMES = re.compile(
    r"(?<![\w-])(?:[\w-]*(?:numpy|scipy|pandas|sklearn|scikit[-\s]learn|torch)[\w-]*|np|sp|pd)(?![\w-])\.?",
    re.IGNORECASE,
)
"""The packages' names, also within longer words (numpydoc, libtorch), and their customary aliases."""

RULES = re.compile(r"([-=~^*#.])\1{2,}")
"""Lines under headings: of no meaning, and they fill a text's first tokens."""


Documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


class Choice(Protocol):
    """What decides which texts are taken (`DocstringsSettings`)."""

    per_package: int
    words: int
    hide_names: bool


@dataclass(frozen=True)
class Text:
    """One docstring, white space collapsed; `label` numbers its package, `file` its source file."""

    words: str
    label: int
    file: int


def collect(packages: Sequence[str], choice: Choice) -> list[Text]:
    """At most `per_package` texts of each package, file after file; no text twice.

    Files are read in an order drawn by the hash of their names, so that a sample is spread over the whole package and
    only as much is parsed as is needed. Raises `PruneryError` if a package is not installed.
    """
    found: list[Text] = []
    seen: set[str] = set()
    files = count()
    with _no_garbage_collection():
        for label, package in enumerate(packages):
            paths = sources(package_folder(package))
            texts = (
                Text(words, label, file)
                for path, file in zip(paths, files, strict=False)
                for words in texts_of(path, choice)
            )
            found += islice(_fresh(texts, seen), choice.per_package)
    return found


def _fresh(texts: Iterable[Text], seen: set[str]) -> Iterator[Text]:
    for text in texts:
        if text.words not in seen:
            seen.add(text.words)
            yield text


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    """Syntax trees hold no cycles, yet building them sets off collections that take half of the time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def package_folder(package: str) -> Path:
    """Where a package is installed, found without importing it."""
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise PruneryError(f"data source 'docstrings' reads the sources of {package}: install it")
    return Path(spec.origin).parent


def sources(folder: Path) -> list[Path]:
    """The Python files of a package, those of tests and of vendored packages left out, in hashed order."""
    names = [path.relative_to(folder).as_posix() for path in folder.rglob("*.py")]
    kept = [name for name in names if LEFT_OUT.isdisjoint(name.split("/"))]
    return [folder / name for name in sorted(kept, key=lambda name: (hashlib.sha256(name.encode()).digest(), name))]


def texts_of(path: Path, choice: Choice) -> Iterator[str]:
    """The docstrings of a file that are long enough, from its top down. A file that does not parse has none."""
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError):  # templates, or syntax newer than this Python
        return
    for node in documented(tree):
        text = RULES.sub(" ", ast.get_docstring(node, clean=False) or "")
        words = (NAMES.sub(" ", text) if choice.hide_names else text).split()
        if len(words) >= choice.words:
            yield " ".join(words)


def documented(node: Documented) -> Iterator[Documented]:
    """A module, class or function and those that stand in its body: far fewer nodes than `ast.walk` visits."""
    yield node
    for child in node.body:
        if isinstance(child, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            yield from documented(child)


def divide(texts: Sequence[Text], share: float) -> tuple[list[Text], list[Text]]:
    """Training and test texts: of each package, the last files that together hold at least `share` of it are the test.

    Files come in hashed order, so the last ones are a random sample of them.
    """
    train: list[Text] = []
    test: list[Text] = []
    for label in sorted({text.label for text in texts}):
        own = [text for text in texts if text.label == label]
        border = own[round(len(own) * (1 - share))].file
        train += [text for text in own if text.file < border]
        test += [text for text in own if text.file >= border]
    return train, test
