"""From the study's tables to the sizes of a family, smallest first: accuracies by seed, in percent."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from prunery.errors import PruneryError, unknown
from prunery.reporting.rows import by_ratio, percent

if TYPE_CHECKING:
    from prunery.reporting.results import Results

    from . import RegimesSettings, SizedFamily

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Size:
    """One size of a family.

    `accuracy` and `train` are `[seeds]`, the latter NaN where it is unknown; `pruned` is `[seeds, 1 + ratios]`, the
    unpruned accuracy first; `gap` is fp32 - int8, `[seeds]`; without common seeds `int8` stands for itself.
    """

    base: str
    size: float
    parameters: float
    accuracy: Floats
    train: Floats
    ratios: Floats = field(default_factory=lambda: np.empty(0))
    pruned: Floats = field(default_factory=lambda: np.empty((0, 0)))
    int8: Floats = field(default_factory=lambda: np.empty(0))
    gap: Floats = field(default_factory=lambda: np.empty(0))


class Reader:
    """Reads one family. Raises `PruneryError` if a size cannot be told, or two bases are of one size."""

    def __init__(self, results: Results, name: str, family: SizedFamily, settings: RegimesSettings) -> None:
        self.results, self.family = results, family
        self.where = f"analyse 'regimes', families.{name}"
        self.key = family.size or settings.size
        self.column = f"{settings.split}_accuracy"
        self.paths: dict[str, list[str]] = {}
        for path, recipe in results.recipes.items():
            if not recipe.steps and path in results.stages:
                self.paths.setdefault(recipe.base, []).append(path)

    def sizes(self) -> list[Size]:
        """The sizes, smallest first."""
        dense = self._accuracies(self.family.bases)
        int8 = self._int8(dense)
        found = [self._size(base, dense[base], int8.get(base)) for base in dense]
        found.sort(key=lambda size: (size.size, size.parameters))
        for first, second in pairwise(found):
            if first.size == second.size and self.key != "parameters":
                raise PruneryError(
                    f"{self.where}: bases {first.base} and {second.base} have the same {self.key}, {first.size:g}: "
                    "write a narrower pattern, or size: parameters"
                )
        return found

    def _accuracies(self, spellings: Iterable[str]) -> dict[str, pd.Series[float]]:
        """Base -> accuracy by seed, in percent."""
        rows = {key: each for text in spellings for key, each in self.results.matching(text).items()}
        recipes: dict[str, str] = {}
        for base, recipe in rows:
            if recipes.setdefault(base, recipe) != recipe:
                raise PruneryError(f"{self.where}, base {base}: {recipes[base]} and {recipe} are two recipes: name one")
        return {base: self._percent(each) for (base, _), each in rows.items()}

    def _percent(self, rows: pd.DataFrame) -> pd.Series[float]:
        return percent(rows, self.column)

    def _size(self, base: str, accuracy: pd.Series[float], int8: pd.Series[float] | None) -> Size:
        ratios, pruned = self._pruned(base, accuracy)
        common = accuracy.index.intersection(int8.index) if int8 is not None else accuracy.index[:0]
        gap = accuracy[common] - int8[common] if int8 is not None else ()
        return Size(
            base, self._told(base), self._parameters(base), _floats(accuracy), self._train(base, accuracy),
            ratios, pruned, _floats(() if int8 is None else int8), _floats(gap),
        )  # fmt: skip

    # --- what is known of a base -------------------------------------------------------------------------------------

    def _told(self, base: str) -> float:
        """The size by the key that sizes are told by."""
        if self.key == "parameters":
            return self._parameters(base)
        stage = self.results.stages[self.paths[base][0]]
        if self.key not in stage.settings:
            known = ("parameters", *stage.settings)
            raise PruneryError(f"{self.where}, base {base}: {unknown(f'setting of {stage.model}', self.key, known)}")
        value = stage.settings[self.key]
        if isinstance(value, bool) or not isinstance(value, int | float) or value <= 0:
            raise PruneryError(f"{self.where}, base {base}: {self.key} is {value!r}, no size: name one that counts")
        return float(value)

    def _parameters(self, base: str) -> float:
        return float(self.results.by_recipe[base, "dense"]["parameters"].iloc[0])

    def _train(self, base: str, accuracy: pd.Series[float]) -> Floats:
        """Training accuracy of the epoch whose weights were kept: the best one with early stopping, else the last.

        A replica that diverged in its first epoch has none; it counts as the mean of the others.
        """
        paths = self.paths.get(base, [])
        held = [self.results.by_path[path] for path in paths if path in self.results.by_path]
        if not held:
            return np.full(len(accuracy), np.nan)
        rows = pd.concat(held).sort_values("epoch")
        if self.results.stages[paths[0]].provenance.get("settings", {}).get("patience") is None:
            kept = rows.drop_duplicates("seed", keep="last")
        else:
            kept = rows.sort_values("validation_loss", kind="stable").drop_duplicates("seed")
        found = 100 * kept.set_index("seed")["train_accuracy"].reindex(accuracy.index).astype(float)
        return _floats(found.fillna(found.mean()))

    def diverged(self) -> int:
        """Replicas whose training diverged, in all networks of the family: their records name them."""
        bases = {base for text in self.family.recipes() for base, _ in self.results.matching(text)}
        stages = (self.results.stages[path] for base in bases for path in self.paths.get(base, []))
        return sum(len(stage.provenance.get("diverged") or {}) for stage in stages)

    # --- pruned and quantized ----------------------------------------------------------------------------------------

    def _pruned(self, base: str, accuracy: pd.Series[float]) -> tuple[Floats, Floats]:
        """The ratios, 0 first, and the accuracies of the seeds that were pruned at all of them."""
        rows = self.results.matching(f"{base}/{self.family.prune}") if self.family.prune else {}
        columns = {0.0: accuracy}
        columns |= {ratio: self._percent(each) for ratio, each in by_ratio(rows, f"{self.where}, base {base}").items()}
        table = pd.DataFrame({ratio: columns[ratio] for ratio in sorted(columns)}).dropna()
        if len(columns) < 2 or table.empty:
            return np.empty(0), np.empty((0, 0))
        return table.columns.to_numpy(dtype=float), table.to_numpy()

    def _int8(self, dense: dict[str, pd.Series[float]]) -> dict[str, pd.Series[float]]:
        """Base of the fp32 network -> accuracy of the 8-bit network: of the same base, else of the same size."""
        if not self.family.int8:
            return {}
        spelled = [f"{base}/{self.family.int8.recipe}" for base in self.family.int8.bases or self.family.bases]
        found = self._accuracies(spelled)
        if not set(found) - set(dense):
            return found
        sized = {self._int8_size(base): rows for base, rows in found.items()}
        return {base: sized[self._told(base)] for base in dense if self._told(base) in sized}

    def _int8_size(self, base: str) -> float:
        if self.key != "parameters":
            return self._told(base)
        spelled = f"{base}/{self.family.int8.recipe}"  # type: ignore[union-attr]
        return float(next(iter(self.results.matching(spelled).values()))["parameters"].iloc[0])


def _floats(values: Any) -> Floats:
    return np.asarray(values, dtype=np.float64)
