"""All k:n patterns of wide groups, tried by halves."""

from __future__ import annotations

from math import inf

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from .cells import Cells

COSTS = 2**24
"""Costs of patterns that are held at a time."""


def best_by_halves(cells: Cells, count: int) -> Bool[Tensor, "blocks group rows"]:
    """What `best_of` finds among all patterns, in a fraction of the time.

    A pattern is a set of the first half of the entries and one of the second. Costs within the halves are looked up;
    what the first set adds to each entry of the second is linear in it, so a pattern takes a product of half a row.
    """
    group, rows = cells.values.shape[1:]
    first, second = _sets(group // 2), _sets(group - group // 2)
    blocks = max(1, COSTS // (len(first) * len(second) * rows))
    return torch.cat([_halves(part, count, first, second) for part in cells.split(blocks)])


def _sets(size: int) -> Bool[Tensor, "sets size"]:
    """All sets of so many entries."""
    return (torch.arange(2**size)[:, None] >> torch.arange(size)) % 2 == 1


def _halves(cells: Cells, count: int, first: Tensor, second: Tensor) -> Bool[Tensor, "blocks group rows"]:
    cut, device = first.shape[1], cells.values.device
    first, second = first.to(device), second.to(device)
    values = cells.values.movedim(1, -1)
    pairs = values[..., :, None] * values[..., None, :] * cells.moments[:, None]
    if cells.linear is not None:
        pairs = pairs + torch.diag_embed(cells.linear.movedim(1, -1))
    pairs = pairs.flatten(0, 1)
    heads, tails = first.to(pairs.dtype), second.to(pairs.dtype)
    within = _forms(pairs[:, :cut, :cut], heads), _forms(pairs[:, cut:, cut:], tails)
    across = torch.cat([2 * heads @ pairs[:, :cut, cut:], within[0][..., None]], -1)
    best = _best_pair(across, within[1], torch.cat([tails, torch.ones_like(tails[:, :1])], 1), first, second, count)
    dropped = torch.cat([first[best[0]], second[best[1]]], 1)
    return dropped.unflatten(0, (len(values), -1)).movedim(-1, 1)


def _forms(pairs: Float[Tensor, "cells size size"], sets: Float[Tensor, "sets size"]) -> Float[Tensor, "cells sets"]:
    """What each set costs within itself."""
    return pairs.flatten(1) @ (sets[:, :, None] * sets[:, None]).flatten(1).T


def _best_pair(
    across: Float[Tensor, "cells first columns"],
    within: Float[Tensor, "cells second"],
    tails: Float[Tensor, "second columns"],
    first: Tensor,
    second: Tensor,
    count: int,
) -> tuple[Int[Tensor, " cells"], Int[Tensor, " cells"]]:
    """The sets of both halves, `count` entries together, that cost least."""
    least = across.new_full((len(across),), inf)
    best = torch.zeros(2, len(across), dtype=torch.int64, device=across.device)
    for taken in range(max(0, count - second.shape[1]), min(count, first.shape[1]) + 1):
        mine = (first.sum(1) == taken).nonzero().flatten()
        others = (second.sum(1) == count - taken).nonzero().flatten()
        rows, columns = across[:, mine], tails[others]
        found, place = ((rows @ columns.T).amin(1) + within[:, others]).min(1)
        partner = (rows @ columns[place][..., None])[..., 0].argmin(1)
        better = found < least
        least = torch.where(better, found, least)
        best = torch.where(better, torch.stack([mine[partner], others[place]]), best)
    return best[0], best[1]
