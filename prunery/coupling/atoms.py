"""Atoms: what may have to go together, as a union-find structure over numbers."""

from __future__ import annotations

import torch
from jaxtyping import Int
from torch import Tensor

FREE = -1
"""Label of constants: they fit beside anything."""
KEPT = 0
"""Label of values that are always there, such as the network's input."""


class Atoms:
    """Sets of atoms that go together, and for some the reason why they cannot go at all."""

    def __init__(self) -> None:
        self._parents = torch.zeros(1, dtype=torch.int64)
        self._reasons: dict[int, str] = {}
        self.ties = 0
        """How often atoms were tied that were not before."""

    def new(self, count: int) -> int:
        """The first of `count` new atoms, each by itself."""
        first = len(self._parents)
        self._parents = torch.cat([self._parents, torch.arange(first, first + count)])
        return first

    def roots(self, labels: Int[Tensor, "..."]) -> Int[Tensor, "..."]:
        """The representatives of labels; `FREE` and `KEPT` stand for themselves."""
        return torch.where(labels < 0, labels, self._parents[labels.clamp_min(0)])

    def unite(self, ones: Int[Tensor, "..."], others: Int[Tensor, "..."], why: str) -> None:
        """Tie labels pairwise. What is tied to `KEPT` cannot go, for the reason given."""
        pairs = torch.stack([self.roots(part).reshape(-1) for part in torch.broadcast_tensors(ones, others)])
        pairs = pairs[:, (pairs[0] != pairs[1]) & (pairs != FREE).all(0)]
        self.freeze(pairs[:, (pairs == KEPT).any(0)], why)
        self._merge(*pairs[:, (pairs != KEPT).all(0)])

    def freeze(self, labels: Int[Tensor, "..."], why: str) -> None:
        """Say that these cannot go; the first reason counts."""
        for root in self.roots(labels).unique().tolist():
            if root > KEPT:
                self._reasons.setdefault(root, why)

    def reason(self, label: int) -> str | None:
        """Why an atom cannot go; none if it can."""
        return self._reasons.get(int(self._parents[label]))

    def is_frozen(self, roots: Int[Tensor, "..."]) -> Tensor:
        """Where representatives cannot go."""
        frozen = torch.tensor(sorted({KEPT, *self._reasons}))
        return torch.isin(roots, frozen)

    def _merge(self, ones: Int[Tensor, " pairs"], others: Int[Tensor, " pairs"]) -> None:
        """Hang the greater of two representatives below the lesser, all pairs at once, until none differ."""
        before = torch.cat([ones, others])
        self.ties += len(ones)
        while len(ones):
            low, high = torch.minimum(ones, others), torch.maximum(ones, others)
            self._parents.scatter_reduce_(0, high, low, "amin")
            self._flatten()
            ones, others = self._parents[ones], self._parents[others]
            ones, others = ones[ones != others], others[ones != others]
        for old in set(before.tolist()) & set(self._reasons) if self._reasons else ():
            self._reasons.setdefault(int(self._parents[old]), self._reasons[old])

    def _flatten(self) -> None:
        """Let every atom name its representative directly."""
        while not torch.equal(above := self._parents[self._parents], self._parents):
            self._parents = above
