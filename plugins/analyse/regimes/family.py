"""One family: its regimes, pruning and 8-bit gaps, each with what resampled seeds make of it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from prunery.reporting import resampling

from .core import minimal_stable, phase_growth, regimes, safe_index
from .phases import Phases, three_phases

if TYPE_CHECKING:
    from . import RegimesSettings, SizedFamily
    from .sizes import Size

Floats = NDArray[np.float64]


class Curve:
    """Means and deviations over sizes, of the data `[sizes]` and of the resamples `[resamples, sizes]`."""

    def __init__(self, sizes: list[Size], shares: list[Floats]) -> None:
        drawn = list(zip(sizes, shares, strict=True))
        self.mean = np.array([size.accuracy.mean() for size in sizes])
        self.std = np.array([size.accuracy.std(ddof=1) if len(size.accuracy) > 1 else np.nan for size in sizes])
        self.train = np.array([size.train.mean() for size in sizes])
        self.means = np.stack([resampling.means(share, size.accuracy) for size, share in drawn], axis=1)
        self.stds = np.stack([resampling.deviations(share, size.accuracy) for size, share in drawn], axis=1)
        self.trains = np.stack([resampling.means(share, size.train) for size, share in drawn], axis=1)


class Pruning:
    """One size at rising ratios, 0 first: mean, deviation, the last safe ratio and the phases, with resamples.

    `loss` is how much accuracy may fall, in points, for a ratio to be safe and for the curve to be flat.
    """

    def __init__(self, size: Size, shares: Floats, loss: float) -> None:
        self.ratios, self.loss = size.ratios, loss
        self.accuracy, self.shares = size.pruned, shares
        self.mean = size.pruned.mean(axis=0)
        self.means = resampling.means(shares, size.pruned)

    @property
    def count(self) -> int:
        """Seeds."""
        return len(self.accuracy)

    @cached_property
    def std(self) -> Floats:
        """Deviation at each ratio."""
        return self.accuracy.std(axis=0, ddof=1) if self.count > 1 else np.full(len(self.mean), np.nan)

    @cached_property
    def safe(self) -> int:
        """Index of the last safe ratio."""
        return int(safe_index(self.mean, self.loss))

    @cached_property
    def safes(self) -> NDArray[np.int64]:
        """The same in every resample."""
        return safe_index(self.means, self.loss)

    @cached_property
    def phases(self) -> Phases:
        """Where the decline begins and ends."""
        return three_phases(self.ratios, self.mean, False, self.loss)

    @cached_property
    def drawn_phases(self) -> Phases:
        """The same in every resample."""
        return three_phases(self.ratios, self.means, False, self.loss)

    @cached_property
    def growth(self) -> tuple[float, Floats]:
        """Median deviation between the change points over that up to the first: of the data and of the resamples."""
        stds = resampling.deviations(self.shares, self.accuracy)
        return float(phase_growth(self.std, self.ratios, self.phases)), phase_growth(stds, self.ratios, self.phases)


@dataclass(frozen=True)
class Gap:
    """fp32 - int8 of one size, in percentage points; `paired` by seed where both have seeds in common."""

    value: float
    draws: Floats
    count: int
    paired: bool
    error: float


class Analysis:
    """A family's sizes and everything that follows from them; resamples are drawn size by size, seeds whole."""

    def __init__(
        self, name: str, family: SizedFamily, sizes: list[Size], settings: RegimesSettings, diverged: int = 0
    ) -> None:
        self.name, self.family, self.sizes, self.settings, self.diverged = name, family, sizes, settings, diverged
        self.generator = np.random.default_rng([settings.seed, *name.encode()])
        self.largest_std = family.stable_std or settings.stable_std
        self.count = min(len(size.accuracy) for size in sizes)
        self.shares = [self._weights(len(size.accuracy)) for size in sizes]
        self.curve = Curve(sizes, self.shares)

    def _weights(self, count: int) -> Floats:
        return resampling.weights(count, self.settings.resamples, self.generator)

    @cached_property
    def size(self) -> Floats:
        """Sizes as they are told."""
        return np.array([size.size for size in self.sizes])

    @cached_property
    def parameters(self) -> Floats:
        """Parameters of each size."""
        return np.array([size.parameters for size in self.sizes])

    # --- convergence -------------------------------------------------------------------------------------------------

    @cached_property
    def stable(self) -> int:
        """Index of the minimal stable size, the number of sizes if there is none."""
        return int(minimal_stable(self.curve.mean, self.curve.std, self.largest_std, self.settings.within))

    @cached_property
    def stables(self) -> NDArray[np.int64]:
        """The same in every resample."""
        return minimal_stable(self.curve.means, self.curve.stds, self.largest_std, self.settings.within)

    @cached_property
    def regimes(self) -> NDArray[np.int64]:
        """Regime of each size."""
        limits = self.largest_std, self.settings.within, self.settings.overfit_drop
        return regimes(self.curve.mean, self.curve.std, self.curve.train, *limits)

    @cached_property
    def drawn_regimes(self) -> NDArray[np.int64]:
        """The same in every resample."""
        limits = self.largest_std, self.settings.within, self.settings.overfit_drop
        return regimes(self.curve.means, self.curve.stds, self.curve.trains, *limits)

    @cached_property
    def best(self) -> int | None:
        """Index of the stable size with the best mean."""
        return None if self.stable == len(self.sizes) else self.stable + int(self.curve.mean[self.stable :].argmax())

    @cached_property
    def growth(self) -> tuple[Phases, Phases]:
        """Where the mean accuracy begins and ceases to rise, as sizes: of the data and of the resamples."""
        if len(self.sizes) < 4:
            nothing = np.full(self.settings.resamples, np.nan)
            return Phases(nothing[0], nothing[0]), Phases(nothing, nothing)
        x = np.log(self.size)
        found = (three_phases(x, y, True, self.settings.within) for y in (self.curve.mean, self.curve.means))
        first, second = (Phases(*map(np.exp, phases)) for phases in found)
        return first, second

    # --- pruning -----------------------------------------------------------------------------------------------------

    @cached_property
    def pruning(self) -> list[Pruning | None]:
        """What pruning makes of each size."""
        return [self._pruning(size) if len(size.ratios) else None for size in self.sizes]

    def _pruning(self, size: Size) -> Pruning:
        return Pruning(size, self._weights(len(size.pruned)), self.settings.pruning_loss)

    @cached_property
    def pruned_at(self) -> int | None:
        """Index of the size that the family's safe pruning is told of, if it is there and was pruned."""
        minimal = self.stable if self.stable < len(self.sizes) else None
        chosen = self.best if self.settings.pruned_at == "best" else minimal
        return chosen if chosen is not None and self.pruning[chosen] else None

    # --- eight bits --------------------------------------------------------------------------------------------------

    @cached_property
    def gaps(self) -> list[Gap | None]:
        """The 8-bit gap of each size."""
        return [
            self._gap(size, share) if len(size.int8) else None
            for size, share in zip(self.sizes, self.shares, strict=True)
        ]

    def _gap(self, size: Size, share: Floats) -> Gap:
        if count := len(size.gap):
            draws = resampling.means(self._weights(count), size.gap)
            return Gap(float(size.gap.mean()), draws, count, True, _error(size.gap))
        other = resampling.means(self._weights(len(size.int8)), size.int8)
        draws = resampling.means(share, size.accuracy) - other
        error = float(np.hypot(_error(size.accuracy), _error(size.int8)))
        count = min(len(size.accuracy), len(size.int8))
        return Gap(float(size.accuracy.mean() - size.int8.mean()), draws, count, False, error)


def _error(values: Floats) -> float:
    """Standard error of a mean."""
    return float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else float("nan")
