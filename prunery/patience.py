"""Early stopping, replica by replica."""

from __future__ import annotations

import math


class Patience:
    """Early stopping, replica by replica; `epochs` without a lower loss and a replica is done, None = never."""

    def __init__(self, epochs: int | None) -> None:
        self.epochs = epochs
        self.lowest: dict[int, float] = {}
        self.waited: dict[int, int] = {}

    def judge(self, seeds: list[int], losses: list[float]) -> tuple[list[int], list[int]]:
        """Which rows are worth remembering (all, if there is no early stopping) and which go on."""
        if self.epochs is None:
            return list(range(len(seeds))), list(range(len(seeds)))
        better = [row for row, seed in enumerate(seeds) if losses[row] < self.lowest.get(seed, math.inf)]
        for row, seed in enumerate(seeds):
            self.waited[seed] = 0 if row in better else self.waited[seed] + 1
            self.lowest[seed] = min(losses[row], self.lowest.get(seed, math.inf))
        return better, [row for row, seed in enumerate(seeds) if self.waited[seed] < self.epochs]
