"""Result files to tables: one row per replica, layer, epoch, backend time and fitted spectrum.

Rows keep the order of the files they come from; paths are recipes relative to the study's results folder.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from prunery.contract import TRANSFORMS
from prunery.errors import PruneryError
from prunery.files import sha256
from prunery.findings import Findings, Gallery, read_findings
from prunery.recipe import Recipe, expand, parse_seeds, parse_step

DENSE = "dense"
"""What a recipe without steps is called."""

Row = dict[str, Any]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Stage:
    """What `model.json` says of one folder: its making, the file's hash, the model it started as with its settings,
    and the classes of its data (0 if it does not say)."""

    provenance: dict[str, Any]
    hash: str = ""
    model: str = ""
    settings: dict[str, Any] = field(default_factory=dict)
    classes: int = 0


@dataclass
class Results:
    """All results of a study. `spectra` maps (path, variant) -> seed -> key of the weight -> figures.

    `analyses` holds the findings of each variant of `analyse`; `galleries` maps (path, variant of `evaluate`) to
    pictures, `calibrations` (path, variant) to seed -> key of the weight -> statistic -> value.
    """

    stages: dict[str, Stage] = field(default_factory=dict)
    recipes: dict[str, Recipe] = field(default_factory=dict)
    replicas: pd.DataFrame = field(default_factory=pd.DataFrame)
    layers: pd.DataFrame = field(default_factory=pd.DataFrame)
    bench: pd.DataFrame = field(default_factory=pd.DataFrame)
    history: pd.DataFrame = field(default_factory=pd.DataFrame)
    spectra: dict[tuple[str, str], dict[str, dict[str, Any]]] = field(default_factory=dict)
    analyses: dict[str, Findings] = field(default_factory=dict)
    galleries: dict[tuple[str, str], Gallery] = field(default_factory=dict)
    calibrations: dict[tuple[str, str], dict[int, dict[str, dict[str, Floats]]]] = field(default_factory=dict)

    @property
    def evaluated(self) -> list[str]:
        """The paths that have been evaluated, in the order of the files."""
        return [] if self.replicas.empty else list(dict.fromkeys(self.replicas["path"]))

    @cached_property
    def by_recipe(self) -> dict[tuple[str, str], pd.DataFrame]:
        """(base, recipe) -> the rows of its replicas, of the first variant of `evaluate`."""
        if self.replicas.empty:
            return {}
        first = self.replicas[self.replicas["evaluate"] == self.replicas["evaluate"].iloc[0]]
        grouped = first.drop_duplicates(["base", "recipe", "seed"]).groupby(["base", "recipe"], sort=False)
        return {(str(base), str(recipe)): rows for (base, recipe), rows in grouped}

    @cached_property
    def by_path(self) -> dict[str, pd.DataFrame]:
        """Path -> its learning curves, a row per seed and epoch."""
        grouped = () if self.history.empty else self.history.groupby("path", sort=False)
        return {str(path): rows for path, rows in grouped}

    def matching(self, spelling: str) -> dict[tuple[str, str], pd.DataFrame]:
        """Of `by_recipe` what a short spelling of the config stands for (`mlp-*/prune=l1@{0.5,0.9}`), in its order."""
        found: dict[tuple[str, str], pd.DataFrame] = {}
        for spelled in expand(spelling):
            pattern, *steps = spelled.split("/")
            recipe = "/".join(step for step in steps if not step.startswith("seeds=")) or DENSE
            plain = (pattern, recipe) in self.by_recipe
            keys = [(pattern, recipe)] if plain else [key for key in self.by_recipe if key[1] == recipe]
            found |= {key: self.by_recipe[key] for key in keys if fnmatchcase(key[0], pattern)}
        return found

    def chain(self, path: str) -> list[str]:
        """The paths of a recipe's known ancestors, the dense network first, and of the recipe itself."""
        return [str(prefix) for prefix in self.recipes[path].prefixes() if str(prefix) in self.stages]


def read_results(root: Path, files: Iterable[Path], calibrations: bool = False) -> Results:
    """Read the listed files; `calibrations` (large, and not shown) are passed over unless they are asked for.

    Raises `PruneryError` naming a file that is missing, damaged, or outside of `root`.
    """
    results = Results()
    tables: dict[str, list[Row]] = {"replicas": [], "layers": [], "bench": [], "history": []}
    for file in files:
        measure, _, variant = file.stem.partition("=")
        if measure not in (*_READERS, "analyse") or (measure == "calibrate" and not calibrations):
            continue
        if measure == "analyse":
            results.analyses[variant] = read_findings(file)
            continue
        path = _recipe_path(root, file)
        results.recipes.setdefault(path, _recipe(path))
        with _readable(file):
            _READERS[measure](file, path, variant, results, tables)
    tables["replicas"].sort(key=lambda row: "test_accuracy" not in row)  # the first evaluation tells the accuracies
    for name, rows in tables.items():
        setattr(results, name, pd.DataFrame(rows))
    return results


def _recipe_path(root: Path, file: Path) -> str:
    try:
        return file.parent.relative_to(root).as_posix()
    except ValueError as error:
        raise PruneryError(f"report: {file} is not below the results folder {root}") from error


def _recipe(path: str) -> Recipe:
    base, *segments = path.split("/")
    if not segments or not segments[0].startswith("seeds="):
        raise PruneryError(f"report: {path!r} is no recipe's folder: it should start with <base>/seeds=<first>-<last>")
    return Recipe(base, parse_seeds(segments[0].removeprefix("seeds=")), tuple(map(parse_step, segments[1:])))


@contextmanager
def _readable(file: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        why = f"{type(error).__name__}: {error}"
        raise PruneryError(f"report: {file} is not a readable result ({why}): delete it and run again") from error


def recipe_columns(recipe: Recipe) -> Row:
    """A recipe as columns: `prune` and `prune_amount` hold the variant and amount of the last such step."""
    steps = {step.stage: step for step in recipe.steps}
    last = recipe.steps[-1] if recipe.steps else None
    row: Row = {"base": recipe.base, "recipe": "/".join(map(str, recipe.steps)) or DENSE, "path": str(recipe)}
    row |= {"stage": last.stage if last else "train", "variant": last.variant if last else None}
    for stage in TRANSFORMS:
        step = steps.get(stage)
        row |= {stage: step.variant if step else None, f"{stage}_amount": _number(step.amount if step else None)}
    return row


def _number(text: str | None) -> float | None:
    return None if text is None else float(text)


# --- one reader per kind of file: (file, path, variant, results, tables) ---------------------------------------------


def _load(file: Path) -> Any:
    return json.loads(file.read_text(encoding="utf-8"))


def _read_model(file: Path, path: str, variant: str, results: Results, tables: dict[str, list[Row]]) -> None:
    record = _load(file)
    network = record.get("network", {})
    made_as = network.get("model", ""), network.get("settings", {}), network.get("spec", {}).get("classes", 0)
    results.stages[path] = Stage(record["provenance"], sha256(file), *made_as)


def _read_history(file: Path, path: str, variant: str, results: Results, tables: dict[str, list[Row]]) -> None:
    for seed, epochs in _load(file).items():
        tables["history"] += [{"path": path, "seed": int(seed), **epoch} for epoch in epochs]


def _read_evaluate(file: Path, path: str, variant: str, results: Results, tables: dict[str, list[Row]]) -> None:
    place = recipe_columns(results.recipes[path]) | {"evaluate": variant}
    record = _load(file)
    if "gallery" in record:
        results.galleries[path, variant] = Gallery.model_validate(record["gallery"])
    for seed, figures in record["replicas"].items():
        row = {**place, "seed": int(seed)}
        for name, value in figures.items():
            if name in ("validation", "test"):
                row |= {f"{name}_{metric}": figure for metric, figure in value.items()}
            elif name != "layers":
                row[name] = value
        tables["replicas"].append(row)
        tables["layers"] += [
            {"path": path, "evaluate": variant, "seed": int(seed), "key": key, **facts}
            for key, facts in figures.get("layers", {}).items()
        ]


def _read_bench(file: Path, path: str, variant: str, results: Results, tables: dict[str, list[Row]]) -> None:
    record = _load(file)
    place = recipe_columns(results.recipes[path]) | {"bench": variant, "batch": record.get("batch")}
    for backend, figures in record["backends"].items():
        row = {**place, "machine": record.get("machine", {}), "backend": backend}
        tables["bench"].append(row | dict(_flat(figures)))


def _flat(figures: Row) -> Iterator[tuple[str, Any]]:
    """`{"speedup": {"ratio": 2, "low": 1}}` as `speedup` 2 and `speedup_low` 1."""
    for name, value in figures.items():
        if not isinstance(value, dict):
            yield name, value
            continue
        for part, figure in value.items():
            yield (name if part in ("ratio", "median") else f"{name}_{part}"), figure


def _read_spectral_fit(file: Path, path: str, variant: str, results: Results, tables: dict[str, list[Row]]) -> None:
    results.spectra[path, variant] = _load(file)


def _read_calibrate(file: Path, path: str, variant: str, results: Results, tables: dict[str, list[Row]]) -> None:
    from prunery.measured import load_findings  # torch

    results.calibrations[path, variant] = {
        seed: {key: {name: value.double().numpy() for name, value in row.items()} for key, row in rows.items()}
        for seed, rows in load_findings(file).items()
    }


_READERS = {
    "calibrate": _read_calibrate,
    "model": _read_model,
    "history": _read_history,
    "evaluate": _read_evaluate,
    "bench": _read_bench,
    "spectral_fit": _read_spectral_fit,
}
