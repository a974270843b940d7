"""Made-up tables of results, for tests of analyses."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import pandas as pd

from prunery.recipe import Recipe, Step, expand, parse, parse_step
from prunery.reporting.results import Results, Row, Stage, recipe_columns

MEMBERS = (1, 2, 4, 8)
"""What stands for the `*` of a pattern, and for every setting of a member's model that counts."""
COUNTED = ("depth", "width", "channels", "dim")
RATIOS = tuple(round(0.1 * step, 1) for step in range(1, 11))
PRUNE = f"prune=l1@{{{','.join(map(str, RATIOS))}}}"
"""What a sweep's networks are pruned by."""


class ToyStudy:
    """A study that is made up replica by replica; accuracies are in percent, one for each seed."""

    def __init__(self, seeds: int) -> None:
        self.seeds = seeds
        self.results = Results()
        self.rows: list[Row] = []
        self.history: list[Row] = []

    def add(self, base: str, steps: str | tuple[Step, ...], accuracies: Any, **columns: Any) -> None:
        """Evaluations of a recipe (`prune=l1@0.5/finetune=short`, or its steps); other columns hold for every seed."""
        found = tuple(map(parse_step, steps.split("/"))) if isinstance(steps, str) and steps else tuple(steps)
        recipe = Recipe(base, (0, self.seeds - 1), found)  # type: ignore[arg-type]
        self.results.recipes[str(recipe)] = recipe
        for seed, accuracy in enumerate(accuracies):
            shares = {f"{split}_accuracy": float(accuracy) / 100 for split in ("validation", "test")}
            self.rows.append(recipe_columns(recipe) | {"evaluate": "standard", "seed": seed} | shares | columns)

    def dense(self, base: str, accuracies: Any, stage: Stage, train: Iterable[float] = (), **columns: Any) -> str:
        """A dense network: its record, and training accuracies epoch by epoch (percent). Returns its path."""
        self.add(base, (), accuracies, **columns)
        path = str(Recipe(base, (0, self.seeds - 1)))
        self.results.stages[path] = stage
        for seed in range(self.seeds):
            for epoch, accuracy in enumerate(train, start=1):
                self.history.append({"path": path, "seed": seed, "epoch": epoch, "train_accuracy": accuracy / 100})
        return path

    def done(self) -> Results:
        """The study as an analysis gets it."""
        self.results.replicas, self.results.history = pd.DataFrame(self.rows), pd.DataFrame(self.history)
        return self.results


class ToySweep(ToyStudy):
    """Perceptrons of several widths with noise of known size; accuracies in percent."""

    def __init__(self, seeds: int = 30, generator: int = 0) -> None:
        super().__init__(seeds)
        self.random = np.random.default_rng(generator)

    def sized(self, base: str, width: int, mean: float, std: float, train: float | None = 99.0, **made: Any) -> Any:
        """A dense network that was `made` so; returns its accuracies."""
        accuracies = mean + std * self.random.standard_normal(self.seeds)
        stage = Stage(made, "", "mlp", {"width": width, "shape": []}, classes=10)
        self.dense(base, accuracies, stage, () if train is None else (10.0, train), parameters=795 * width + 10)
        return accuracies

    def pruned(self, base: str, accuracies: Any, flat: float = 0.5, end: float = 0.9, **columns: Any) -> None:
        """Recipes at every ratio: flat to `flat`, then down to 10 % at `end`."""
        for ratio in RATIOS:
            share = float(np.clip((ratio - flat) / (end - flat), 0, 1))
            noise = 0.1 * self.random.standard_normal(self.seeds)
            lost = accuracies * (1 - share) + 10 * share + noise * (1 + 9 * (0 < share < 1))
            self.add(base, f"prune=l1@{ratio}", lost, **columns)


def toy_results(spellings: Iterable[str], seeds: int) -> Results:
    """Evaluations, learning curves and records of what the spellings stand for; accuracy grows with size."""
    random, study = np.random.default_rng(0), ToyStudy(seeds)
    for member, recipe in _recipes(spellings, seeds):
        dense = recipe.prefixes()[0]
        study.results.recipes.setdefault(str(dense), dense)
        settings: dict[str, Any] = dict.fromkeys(COUNTED, member) | {"shape": []}
        study.results.stages[str(dense)] = Stage({"settings": {}}, "", "toy", settings, classes=4)
        sizes = {"parameters": 100 * member, "nonzero": 100 * member, "bits": 3200 * member, "sparsity": 0.0}
        accuracies = 100 - 50 / member + random.standard_normal(seeds)
        study.add(recipe.base, recipe.steps, accuracies, **sizes)
    curves = {"epoch": 1, "train_accuracy": 0.9, "validation_loss": 0.1}
    study.history = [{"path": path, "seed": seed, **curves} for path in study.results.stages for seed in range(seeds)]
    return study.done()


def _recipes(spellings: Iterable[str], seeds: int) -> Iterator[tuple[int, Recipe]]:
    """Each recipe with the member it belongs to."""
    for text in spellings:
        for spelled in expand(text):
            for member in MEMBERS:
                path = spelled.replace("*", str(member)).replace("?", str(member))
                base = path.partition("/")[0]
                yield member, parse(path, {base: f"0-{seeds - 1}"})
