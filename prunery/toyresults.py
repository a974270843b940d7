"""A made-up table of results, for tests of analyses."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import pandas as pd

from prunery.recipe import Recipe, expand, parse
from prunery.reporting.results import Results, Row, Stage, recipe_columns

MEMBERS = (1, 2, 4, 8)
"""What stands for the `*` of a pattern, and for every setting of a member's model that counts."""
COUNTED = ("depth", "width", "channels", "dim")


def toy_results(spellings: Iterable[str], seeds: int) -> Results:
    """Evaluations, learning curves and records of what the spellings stand for; accuracy grows with size."""
    random, results = np.random.default_rng(0), Results()
    rows: list[Row] = []
    for member, recipe in _recipes(spellings, seeds):
        results.recipes[str(recipe)] = recipe
        dense = str(recipe.prefixes()[0])
        results.recipes.setdefault(dense, recipe.prefixes()[0])
        results.stages[dense] = Stage({"settings": {}}, "", "toy", dict.fromkeys(COUNTED, member) | {"shape": []})
        for seed in range(seeds):
            accuracy = 1 - 0.5 / member + 0.01 * random.standard_normal()
            figures = {f"{split}_accuracy": accuracy for split in ("validation", "test")}
            place = {"evaluate": "standard", "seed": seed, "parameters": 100 * member}
            rows.append(recipe_columns(recipe) | figures | place)
    results.replicas = pd.DataFrame(rows)
    curves = {"epoch": 1, "train_accuracy": 0.9, "validation_loss": 0.1}
    results.history = pd.DataFrame(
        [{"path": path, "seed": seed, **curves} for path in results.stages for seed in range(seeds)]
    )
    return results


def _recipes(spellings: Iterable[str], seeds: int) -> Iterator[tuple[int, Recipe]]:
    """Each recipe with the member it belongs to."""
    for text in spellings:
        for spelled in expand(text):
            for member in MEMBERS:
                path = spelled.replace("*", str(member)).replace("?", str(member))
                base = path.partition("/")[0]
                yield member, parse(path, {base: f"0-{seeds - 1}"})
