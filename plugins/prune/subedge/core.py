"""Removal of the smallest singular values."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from prunery.layers import as_matrix
from prunery.network import device
from prunery.singular import decompose, reshaped


def lowered(weight: Float[Tensor, "out ..."], edge: float, share: float) -> Float[Tensor, "out ..."]:
    """The weight less the smallest of its singular values up to `edge`: that share of them, to the nearest number.

    What goes is subtracted, so that what stays suffers no rounding on the way.
    """
    placed = weight.to(device())
    parts = decompose(placed)
    below = int((parts.values <= edge).sum())
    first = len(parts.values) - int(share * below + 0.5)
    removed = (parts.left[:, first:] * parts.values[first:]) @ parts.right[first:]
    return reshaped(as_matrix(placed).double() - removed, weight)
