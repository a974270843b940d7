"""Cells, the `group` neighbouring inputs of one output, and what they lose.

`[blocks, group, rows]` holds the cells whose inputs are the same side by side. Dropping the set D of a cell costs the
mean square of what the output loses, sum over i, j in D of u_i u_j E[h_i h_j], plus a linear term for each of D, if
there is one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor


@dataclass(frozen=True)
class Cells:
    """Cells that are decided on together.

    `values`: u. `moments`: E[h h^T] of the inputs of each block. `linear`: what dropping each entry costs besides.
    """

    values: Float[Tensor, "blocks group rows"]
    moments: Float[Tensor, "blocks group group"]
    linear: Float[Tensor, "blocks group rows"] | None = None

    def split(self, blocks: int) -> Iterator[Cells]:
        """Parts of so many blocks."""
        linears = [None] * -(-len(self.values) // blocks) if self.linear is None else self.linear.split(blocks)
        parts = zip(self.values.split(blocks), self.moments.split(blocks), linears, strict=True)
        return (Cells(*part) for part in parts)

    @property
    def own(self) -> Float[Tensor, "blocks group rows"]:
        """What dropping each entry costs alone."""
        squares = self.values.square() * self.moments.diagonal(dim1=1, dim2=2)[..., None]
        return squares if self.linear is None else squares + self.linear

    def shared(self) -> Cells:
        """One cell for all rows of a block, whose cost is the sum of theirs."""
        together = (self.values @ self.values.mT) * self.moments
        linear = None if self.linear is None else self.linear.sum(-1, keepdim=True)
        return Cells(torch.ones_like(self.values[..., :1]), together, linear)


def costs(cells: Cells, dropped: Bool[Tensor, "blocks group rows"]) -> Float[Tensor, "blocks rows"]:
    """What each cell loses by dropping a set of its entries."""
    lost = cells.values * dropped
    squares = ((cells.moments @ lost) * lost).sum(1)
    return squares if cells.linear is None else squares + (cells.linear * dropped).sum(1)


def pull(cells: Cells, alive: Bool[Tensor, "blocks group rows"], count: int, strength: float, scale: str) -> Cells:
    """The cells with a linear term that prefers the patterns near a mask: strength * scale * Hamming distance.

    `scale` is the mean cost over all patterns of the cell (`patterns`), or the mean of u^2 E[h^2] over the block
    (`energy`). Where all is alive the distance is the same for every pattern, so nothing is added.
    Source: "Pruning via the Marchenko-Pastur distribution", CAST (its prior).
    """
    if strength == 0 or bool(alive.all()):
        return cells
    squares = cells.values.square() * cells.moments.diagonal(dim1=1, dim2=2)[..., None]
    if scale == "energy":
        size = squares.mean((1, 2), keepdim=True)
    else:
        group = cells.values.shape[1]
        alone = squares.sum(1, keepdim=True)
        crossed = ((cells.moments @ cells.values) * cells.values).sum(1, keepdim=True) - alone
        size = alone * (count / group) + crossed * (count * (count - 1) / max(group * (group - 1), 1))
    towards = strength * size.clamp_min(1e-12) * (2 * alive.to(cells.values.dtype) - 1)
    return Cells(cells.values, cells.moments, towards)
