"""One weight's spectrum along a recipe: its edge and its largest singular values, with resampled seeds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from prunery.errors import PruneryError
from prunery.findings import Quantity
from prunery.reporting import resampling
from prunery.reporting.estimates import estimate
from prunery.reporting.results import Results
from prunery.reporting.rows import only_base

if TYPE_CHECKING:
    from . import AdditiveSettings

Floats = NDArray[np.float64]
UNFITTED = "the spectrum could not be fitted there"


@dataclass(frozen=True)
class Course:
    """Edges `[seeds, steps]` (NaN where there is no fit) and singular values `[seeds, steps, spikes]` of one weight."""

    family: str
    key: str
    settings: AdditiveSettings
    edges: Floats
    values: Floats

    @property
    def name(self) -> str:
        """What quantities begin with."""
        return f"{self.family}/{self.key}"

    @property
    def count(self) -> int:
        """Seeds."""
        return len(self.edges)

    @property
    def steps(self) -> Floats:
        """Steps of the recipe; the dense network is step 0."""
        return np.arange(self.edges.shape[1], dtype=float)

    @cached_property
    def means(self) -> tuple[Floats, Floats]:
        """Edges and singular values in every resample: `[resamples, steps]`, `[resamples, steps, spikes]`."""
        generator = np.random.default_rng([self.settings.seed, *self.name.encode()])
        shares = resampling.weights(self.count, self.settings.resamples, generator)
        return resampling.means(shares, self.edges), resampling.means(shares, self.values)

    def quantities(self) -> dict[str, Quantity]:
        """By the names of the card."""
        edge, drawn = self.edges.mean(axis=0), self.means[0]
        values, resampled = self.values.mean(axis=0), self.means[1]
        found = {
            "edge_first": self._estimate(edge[0], drawn[:, 0]),
            "edge_last": self._estimate(edge[-1], drawn[:, -1]),
            "edge_ratio": self._estimate(edge[-1] / edge[0], drawn[:, -1] / drawn[:, 0]),
        }
        ratios, drawn_ratios = values[-1] / values[0], resampled[:, -1] / resampled[:, 0]
        for number in range(values.shape[1]):
            found[f"spike{number + 1}_first"] = self._estimate(values[0, number], resampled[:, 0, number])
            found[f"spike{number + 1}_last"] = self._estimate(values[-1, number], resampled[:, -1, number])
            found[f"spike{number + 1}_ratio"] = self._estimate(ratios[number], drawn_ratios[:, number])
        kept, drawn_kept = ratios.min(), drawn_ratios.min(axis=1)
        found["spikes_kept"] = self._estimate(kept, drawn_kept)
        fallen = drawn[:, -1] / drawn[:, 0]
        found["separation"] = self._estimate(kept / (edge[-1] / edge[0]), drawn_kept / fallen)
        found["edge_step"] = self._estimate(edge[-1] / edge[-2] - 1, drawn[:, -1] / drawn[:, -2] - 1)
        found["spikes_step"] = self._estimate(_moved(values), _moved(resampled))
        return {f"{self.name}/{name}": quantity for name, quantity in found.items()}

    def _estimate(self, value: float, draws: Floats) -> Quantity:
        return estimate(value, draws, self.count, self.settings.confidence, "", UNFITTED)


def _moved(values: Floats) -> Any:
    """By what share singular values `[..., steps, spikes]` change over the last step, the one that changes most."""
    return np.abs(values[..., -1, :] / values[..., -2, :] - 1).max(axis=-1)


def read_courses(results: Results, name: str, settings: AdditiveSettings) -> list[Course]:
    """Every weight of a family that its `layers` match; none where its networks were not fitted.

    Raises `PruneryError` if the family has several bases, or no weight matches.
    """
    family, where = settings.families[name], f"analyse 'additive', families.{name}"
    base = only_base(results, family.recipes(), where)
    paths = [_path(results, base, steps) for steps in family.on_the_way] if base else []
    fits = [results.spectra.get((path, settings.fit), {}) for path in paths]
    if not fits or not all(fits):
        return []
    keys = [key for key in next(iter(fits[0].values())) if _matches(key, family.layers)]
    if not keys:
        raise PruneryError(f"{where}: no weight matches layers: {', '.join(family.layers)}")
    seeds = [seed for seed in fits[0] if all(seed in fit for fit in fits)]
    return [_course(name, key, settings, [[fit[seed][key] for fit in fits] for seed in seeds]) for key in keys]


def _course(family: str, key: str, settings: AdditiveSettings, rows: list[list[dict[str, Any]]]) -> Course:
    """`rows` are fits, seed by seed and step by step."""
    edges = [[row.get(settings.edge, np.nan) for row in steps] for steps in rows]
    values = [[_largest(row, settings.spikes) for row in steps] for steps in rows]
    return Course(family, key, settings, np.array(edges, dtype=float), np.array(values, dtype=float))


def _largest(row: dict[str, Any], count: int) -> list[float]:
    """The largest singular values, of which the fit tells squares over the longer side; NaN for those it lacks."""
    longer = max(row["rows"], row["columns"])
    found = [(longer * value) ** 0.5 for value in row.get("largest", [])[:count]]
    return found + [np.nan] * (count - len(found))


def _path(results: Results, base: str, steps: str) -> str:
    """The path of a recipe that was evaluated, "" if it was not."""
    rows: Iterator[Any] = iter(results.matching(f"{base}/{steps}".rstrip("/")).values())
    found = next(rows, None)
    return "" if found is None else str(found["path"].iloc[0])


def _matches(key: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatchcase(key, pattern) for pattern in patterns)
