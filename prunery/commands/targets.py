"""What a path that a user gives stands for: a file that some rule of the study makes."""

from __future__ import annotations

import re
from os.path import normpath
from pathlib import Path

from prunery.checking import check_recipe
from prunery.contract import MEASURES
from prunery.errors import PruneryError, unknown
from prunery.places import EXTENSION
from prunery.record import RECORD
from prunery.workflow import Workflow

PAGES = ("report.html", "table.csv", "claims.json")
_TENSORS = re.compile(r"\d+(\.companions)?\.safetensors")


def target(study: Workflow, path: str) -> str:
    """The file to ask Snakemake for: a folder stands for its network, `results/` for the report.

    Raises `PruneryError` naming the part of the path that the study does not know.
    """
    given = Path(normpath(path))
    given = given.relative_to(Path.cwd()) if given.is_relative_to(Path.cwd()) else given
    if not given.is_relative_to(study.root):
        raise PruneryError(f"{path} is not below {study.root}, where the results of {study.study.study!r} lie")
    below = given.relative_to(study.root)
    if below == Path() or below.as_posix() in PAGES:
        return f"{study.root}/{below.as_posix() if below != Path() else PAGES[0]}"
    if below.as_posix().startswith("data="):
        return _data(study, below)
    if below.as_posix().startswith("analyse="):
        return _analysis(study, below)
    folder, name = _split(below)
    stage, _, variant = name.partition("=")
    if stage in MEASURES:
        study.study.method(study.registry, stage, variant.rpartition(".")[0])
    return f"{study.root}/{_recipe(study, folder)}/{name}"


def _data(study: Workflow, below: Path) -> str:
    if below.suffix != ".safetensors" or below.stem.partition("=")[2] not in study.data_names:
        raise PruneryError(unknown("data", below.stem.partition("=")[2], study.data_names))
    return f"{study.root}/{below}"


def _analysis(study: Workflow, below: Path) -> str:
    variant = below.name.partition("=")[2].removesuffix(".json")
    study.study.method(study.registry, "analyse", variant)
    return study.analysis(variant)


def _split(below: Path) -> tuple[str, str]:
    """The recipe's folder and the file in it."""
    stage = below.name.partition("=")[0]
    if stage in MEASURES or below.name in (RECORD, "history.json"):
        extension = f".{EXTENSION[stage]}" if stage in MEASURES else below.suffix
        return below.parent.as_posix(), below.name if below.name.endswith(extension) else below.name + extension
    if _TENSORS.fullmatch(below.name):
        return below.parent.as_posix(), RECORD
    return below.as_posix(), RECORD


def _recipe(study: Workflow, folder: str) -> str:
    """The folder as the workflow spells it, its steps checked."""
    recipe = study.recipe(folder)
    check_recipe(study.study, study.registry, recipe)
    return str(recipe)
