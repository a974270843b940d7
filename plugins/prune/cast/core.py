"""The k:n patterns that change a layer's output least, by the second moments of its inputs."""

from __future__ import annotations

from functools import lru_cache
from itertools import combinations
from math import comb, inf

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from .cells import Cells
from .halves import COSTS, best_by_halves

ENTRIES = 2**17
"""Entries of cells that are looked at together: few enough to stay in a core's cache."""
FEW = 2000
"""Patterns up to which all are tried one by one."""


# --- greedy ----------------------------------------------------------------------------------------------------------


def greedy(cells: Cells, count: int) -> Bool[Tensor, "blocks group rows"]:
    """The `count` entries of each cell to drop, found one at a time.

    Each is the one that costs least beside those before. Then twice an entry is exchanged if that lowers the cost: one
    too many is dropped and the best one taken back, one is taken back and the best other one dropped. Within 0.05% of
    the optimum where inputs are moderately correlated, and 5 to 10% where all move together
    (`benchmarks/kn_projection.py`).
    """
    group, rows = cells.values.shape[1:]
    blocks = max(1, ENTRIES // (group * rows))
    return torch.cat([_one_by_one(part, count) for part in cells.split(blocks)])


def _one_by_one(cells: Cells, count: int) -> Bool[Tensor, "blocks group rows"]:
    state = _Dropping(cells)
    for _ in range(count + 1):
        state.drop()
    state.take_back()
    state.take_back()
    state.drop()
    return state.dropped


class _Dropping:
    """What is dropped of cells so far, and what the next would cost."""

    def __init__(self, cells: Cells) -> None:
        self.cells, self.own, self.twice = cells, cells.own, 2 * cells.values
        self.left = self.own.clone()
        self.lost = torch.zeros_like(cells.values)
        self.crossed = torch.zeros_like(cells.values)

    @property
    def dropped(self) -> Bool[Tensor, "blocks group rows"]:
        """True where an entry is."""
        return self.left == inf

    def drop(self) -> None:
        """Drop the entry that costs least beside those dropped."""
        place = torch.addcmul(self.left, self.twice, self.crossed).min(1, keepdim=True).indices
        self.left.scatter_(1, place, inf)
        self.lost.scatter_(1, place, self.cells.values.gather(1, place))
        self.crossed = self.cells.moments @ self.lost

    def take_back(self) -> None:
        """Take the entry back that saves most."""
        saving = torch.addcmul(self.own, self.twice, self.crossed, value=-1).masked_fill_(~self.dropped, inf)
        place = saving.min(1, keepdim=True).indices
        self.left.scatter_(1, place, self.own.gather(1, place))
        self.lost.scatter_(1, place, 0.0)
        self.crossed = self.cells.moments @ self.lost


# --- enumeration -----------------------------------------------------------------------------------------------------


def exact(cells: Cells, count: int) -> Bool[Tensor, "blocks group rows"]:
    """The best of all sets of `count` entries; of equal ones, in small groups, the first combination of kept ones."""
    group = cells.values.shape[1]
    if comb(group, count) > FEW:
        return best_by_halves(cells, count)
    return best_of(cells, all_patterns(group, count).to(cells.values.device))


@lru_cache(maxsize=4)
def all_patterns(group: int, count: int) -> Bool[Tensor, "patterns group"]:
    """Every set of `count` of `group` entries, True where one is dropped."""
    kept = torch.tensor(list(combinations(range(group), group - count)))
    return torch.ones(len(kept), group, dtype=torch.bool).scatter(1, kept, False)


def drawn_patterns(group: int, count: int, number: int, generator: torch.Generator) -> Bool[Tensor, "patterns group"]:
    """So many sets drawn at random, with replacement."""
    chosen = torch.rand(number, group, generator=generator).argsort(1)[:, :count]
    return torch.zeros(number, group, dtype=torch.bool).scatter(1, chosen, True)


def best_of(cells: Cells, patterns: Bool[Tensor, "patterns group"]) -> Bool[Tensor, "blocks group rows"]:
    """For each cell the pattern of least cost, by one product of all cells' pairs with all patterns' pairs."""
    group, rows = cells.values.shape[1:]
    first, second = torch.triu_indices(group, group, device=patterns.device)
    both = (patterns[:, first] & patterns[:, second]).to(cells.values.dtype)
    blocks = max(1, COSTS // (max(len(patterns), group * group) * rows))
    return torch.cat([_best(part, patterns, both, (first, second)) for part in cells.split(blocks)])


def _best(
    cells: Cells, patterns: Tensor, both: Float[Tensor, "patterns pairs"], pairs: tuple[Int[Tensor, " pairs"], ...]
) -> Bool[Tensor, "blocks group rows"]:
    first, second = pairs
    apart = first != second
    weights = cells.moments[:, first, second, None] * (1 + apart.to(both.dtype))[:, None]
    forms = cells.values[:, first] * cells.values[:, second] * weights
    if cells.linear is not None:
        forms[:, ~apart] += cells.linear
    cheapest = (both @ forms).argmin(1)
    return patterns[cheapest].movedim(-1, 1)
