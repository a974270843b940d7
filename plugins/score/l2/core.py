"""L2 norms of channels."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor


def l2_norms(weight: Float[Tensor, "out ..."]) -> Float[Tensor, " out"]:
    """sqrt(sum W[c]^2) of every output channel c."""
    return weight.flatten(1).norm(dim=1)
