"""Projections of channels on a layer's leading singular directions."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from prunery.layers import as_matrix


def projected_norms(weight: Float[Tensor, "out ..."], energy: float) -> Float[Tensor, " out"]:
    """The norm of every row of W, seen as a matrix `[out, in * kh * kw]`, after projection on its leading directions.

    Of W = U S V^T the first r singular values lead, the fewest whose squares hold the share `energy` of their sum;
    channel c then has the norm of U[c, :r] S[:r]. With energy 1 that is the row's L2 norm.
    """
    left, values, _ = torch.linalg.svd(as_matrix(weight).double(), full_matrices=False)
    held = values.square().cumsum(0)
    rank = int((held < energy * held[-1] * (1 - 1e-12)).sum()) + 1
    return (left[:, :rank] * values[:rank]).norm(dim=1).to(weight.dtype)
