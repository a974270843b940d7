"""Singular vectors without their small entries."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from prunery.layers import as_matrix


def sparsified(weight: Float[Tensor, "out ..."], edge: float, strength: float, power: float) -> Tensor:
    """A weight `[M, N]` recomposed of singular vectors that lost, if their s lies below the edge, their small entries.

    Below `strength * (1 - s / edge)^power / sqrt(M)` entries of u are zeroed, of v alike with N. A uniformly random
    direction (of the Haar measure) has entries of about 1 / sqrt(M). Weights that are zero stay zero.
    """
    left, values, right = torch.linalg.svd(as_matrix(weight).double(), full_matrices=False)
    reach = strength * (1 - values / edge).clamp_min(0) ** power
    left = left.masked_fill(left.abs() < reach / left.shape[0] ** 0.5, 0)
    right = right.masked_fill(right.abs() < reach[:, None] / right.shape[1] ** 0.5, 0)
    whole = ((left * values) @ right).reshape(weight.shape).to(weight.dtype)
    return whole.masked_fill(weight == 0, 0)
