"""Orders of a layer's input channels in which its k:n patterns lose less.

Only which channels share a group counts. `grouped` finds groups for scores that add up (magnitudes, say) by tabu
search; `polished` goes on with the objective itself, which knows how inputs move together.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

COLUMNS, LEAST = 64, 4
"""Columns that are searched together, and the fewest groups."""
STEPS = 16
"""Swaps per group in one search."""
TENURE = (0.05, 0.2)
"""How long a channel may not go back to the group it left: in steps per column, drawn evenly between these."""

Objective = Callable[[Int[Tensor, " channels"]], Float[Tensor, " groups"]]
"""What the groups of an order lose."""


def interleaved(importance: Float[Tensor, " channels"], group: int) -> Int[Tensor, " channels"]:
    """One channel of each of `group` equal ranks in every group: position s of group g is the (s G + g)-th best.

    Source: "Pruning via the Marchenko-Pastur distribution", CAST (its quartile interleave, for groups of four).
    """
    return importance.argsort(descending=True, stable=True).reshape(group, -1).T.flatten()


def importances(weight: Float[Tensor, "rows channels"], kind: str, statistics: Any) -> Float[Tensor, " channels"]:
    """What each channel is worth: |w|^2 (`weight`), |w|^2 E[h^2] (`activation`), or sum |w| E|h| (`paper`).

    `statistics` has the channels' `square` and `absolute` means.
    """
    if kind == "paper":
        return weight.abs().sum(0) * statistics["absolute"]
    squares = weight.square().sum(0)
    return squares * statistics["square"] if kind == "activation" else squares


# --- scores that add up ----------------------------------------------------------------------------------------------


def grouped(
    scores: Float[Tensor, "rows channels"], group: int, keep: int, sweeps: int, generator: torch.Generator
) -> Int[Tensor, " channels"]:
    """An order that lets the `keep` highest scores of each row and group add up to more.

    In every sweep the groups are dealt into lots, and in each lot the best exchange of two channels is made again and
    again, whether it helps or not, but none goes back to the group it has just left; the best order found stays
    (tabu search; Glover 1989).
    """
    order, groups = torch.arange(scores.shape[1]), scores.shape[1] // group
    columns = np.ascontiguousarray(scores.T.cpu().float().numpy())
    lots = -(-groups // max(LEAST, COLUMNS // group))
    for _ in range(sweeps if groups > 1 else 0):
        dealt = torch.randperm(groups, generator=generator)
        for lot in dealt.tensor_split(lots):
            places = (lot[:, None] * group + torch.arange(group)).flatten()
            channels = order[places]
            seed = int(torch.randint(2**31, (1,), generator=generator))
            order[places] = channels[torch.from_numpy(_Lot(columns[channels.numpy()], group, keep).search(seed))]
    return order


class _Lot:
    """A few groups of channels, and what every exchange of two of them would bring.

    `values[p, q]`: what p's group is worth with the channel at q in the place of that at p.
    """

    def __init__(self, columns: np.ndarray, group: int, keep: int) -> None:
        self.columns, self.group, self.keep = columns.copy(), group, keep
        size = len(columns)
        self.order, self.of = np.arange(size), np.arange(size) // group
        self.worth = np.zeros(size // group, np.float64)
        self.rest, self.bar = np.zeros(size), np.zeros_like(self.columns)
        self.values = np.zeros((size, size))
        for one in range(size // group):
            self._rate(one)
        self._compare(np.arange(size))

    def _rate(self, one: int) -> None:
        """What a group is worth; for each place, what its others are worth without it, and the bar to be of use there.

        The `keep` best of a group without p and with x are worth `rest[p]` + max(bar[p], x), row by row.
        """
        places = slice(one * self.group, (one + 1) * self.group)
        mine = self.columns[places]
        ranked = np.sort(mine, axis=0)[::-1]
        last, spare = ranked[self.keep - 1], ranked[self.keep]
        self.worth[one] = ranked[: self.keep].sum()
        self.rest[places] = self.worth[one] - np.maximum(mine, last).sum(1)
        self.bar[places] = np.where(mine >= last, spare, last)

    def _compare(self, places: np.ndarray) -> None:
        """The values of exchanges with these places."""
        bars, columns = self.bar, self.columns
        self.values[places] = np.maximum(bars[places][:, None], columns[None]).sum(-1) + self.rest[places][:, None]
        self.values[:, places] = np.maximum(bars[:, None], columns[places][None]).sum(-1) + self.rest[:, None]

    def gains(self) -> np.ndarray:
        """What each exchange adds; minus infinity within a group."""
        worth = self.worth[self.of]
        gains = self.values + self.values.T - (worth[:, None] + worth[None])
        return np.where(self.of[:, None] == self.of[None], -np.inf, gains)

    def search(self, seed: int) -> np.ndarray:
        """The best order found."""
        generator, size = np.random.default_rng(seed), len(self.order)
        until = np.zeros((size, len(self.worth)))
        best, found, total = self.order.copy(), self.worth.sum(), self.worth.sum()
        for step in range(STEPS * len(self.worth)):
            gains = self.gains()
            barred = until[self.order][:, self.of] > step
            allowed = ~(barred | barred.T) | (total + gains > found * (1 + 1e-7))
            one, other = divmod(int(np.where(allowed, gains, -np.inf).argmax()), size)
            if not np.isfinite(gains[one, other]):
                break
            until[self.order[[one, other]], self.of[[one, other]]] = step + generator.uniform(*TENURE) * size
            self._exchange(one, other)
            total = self.worth.sum()
            if total > found * (1 + 1e-7):
                best, found = self.order.copy(), total
        return best

    def _exchange(self, one: int, other: int) -> None:
        for values in (self.order, self.columns):
            values[[one, other]] = values[[other, one]]
        changed = self.of[[one, other]]
        for each in changed:
            self._rate(each)
        self._compare((changed[:, None] * self.group + np.arange(self.group)).flatten())


# --- the objective itself --------------------------------------------------------------------------------------------


def polished(
    order: Int[Tensor, " channels"], group: int, objective: Objective, rounds: int, generator: torch.Generator
) -> Int[Tensor, " channels"]:
    """The order after exchanges of two channels that lower the objective.

    In each round the groups are paired at random and every pair is offered one exchange, so that one call of the
    objective decides on all pairs.
    """
    groups = len(order) // group
    order, losses = order.clone(), objective(order)
    for _ in range(rounds if groups > 1 else 0):
        pairs = torch.randperm(groups, generator=generator)[: groups // 2 * 2].reshape(2, -1)
        places = pairs * group + torch.randint(group, pairs.shape, generator=generator)
        trial = order.clone()
        trial[places] = order[places.flip(0)]
        after = objective(trial)
        sides = pairs.to(losses.device)
        better = (after[sides].sum(0) < losses[sides].sum(0) * (1 - 1e-6)).cpu()
        order[places[:, better]] = trial[places[:, better]]
        changed = sides[:, better.to(losses.device)]
        losses[changed] = after[changed]
    return order
