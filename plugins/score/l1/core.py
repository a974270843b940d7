"""L1 norms of channels."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor


def l1_norms(weight: Float[Tensor, "out ..."]) -> Float[Tensor, " out"]:
    """sum |W[c]| of every output channel c."""
    return weight.flatten(1).abs().sum(1)
