"""The k:n patterns that masks have: found out from the masks, not believed of the method that made them."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

WIDEST = 32
"""Most neighbouring inputs that are looked at as one group."""


def pattern_of(alive: Bool[Tensor, "out ..."]) -> tuple[int, int] | None:
    """(k, n) if exactly k of every n neighbouring inputs of each output are alive, with the least such n; else None.

    Neighbours are input channels at one kernel position, or entries of the flattened kernel. No input may be left over,
    and k is neither 0 nor n.
    """
    live, total = int(alive.sum()), alive.numel()
    if live in (0, total):
        return None
    for group in range(2, WIDEST + 1):
        if live * group % total == 0 and any(_even(line, live * group // total, group) for line in _lines(alive)):
            return live * group // total, group
    return None


def _lines(alive: Tensor) -> list[Tensor]:
    """The inputs in a row: channel by channel, and as the flattened kernel."""
    flat = alive.flatten(1)
    return [flat] if alive.dim() == 2 else [alive.flatten(2).movedim(1, -1), flat]


def _even(line: Bool[Tensor, "... inputs"], keep: int, group: int) -> bool:
    if line.shape[-1] % group:
        return False
    return bool((line.unflatten(-1, (-1, group)).sum(-1, dtype=torch.int16) == keep).all())


def layer_pattern(layer: nn.Module, weight: Float[Tensor, "out ..."]) -> tuple[int, int] | None:
    """The pattern of a layer: of its mask, or of its nonzero weights if it has none."""
    mask = layer._buffers.get("weight/mask")
    return pattern_of(weight != 0 if mask is None else mask)
