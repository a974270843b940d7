"""Ranks, and what factors of a rank save."""

from __future__ import annotations

from typing import Any

from jaxtyping import Float
from torch import Tensor

from prunery.network import device
from prunery.singular import decompose


def saves(rank: int, rows: int, columns: int) -> bool:
    """Whether rank * (rows + columns) parameters are fewer than rows * columns."""
    return rank * (rows + columns) < rows * columns


def rank_of(weight: Float[Tensor, "out in"], settings: Any, edge: float | None) -> int:
    """How many singular values stay, one at least: those above `edge`, or what the setting `rank` says without one."""
    values = decompose(weight.to(device())).values
    if edge is not None:
        kept = values > edge
    elif settings.rank == "energy":
        squares = values.square()
        kept = squares.cumsum(0) - squares < settings.energy * squares.sum()
    else:
        kept = values > settings.tolerance * values[0]
    return max(1, int(kept.sum()))
