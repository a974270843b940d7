"""The singular values and vectors of a weight, and weights with some of them taken away."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from prunery.layers import as_matrix

ROUNDING = 1e-9
"""Singular values below so many times the largest are rounding errors in the place of zeros: their vectors are too."""


@dataclass(frozen=True)
class Singular:
    """`matrix = left @ diag(values) @ right` in double precision; `values` descend.

    Vectors on the longer side that belong to values in the place of zeros are zero.
    """

    left: Float[Tensor, "rows rank"]
    values: Float[Tensor, " rank"]
    right: Float[Tensor, "rank columns"]


def decompose(weight: Float[Tensor, "out ..."]) -> Singular:
    """The decomposition of a weight as the matrix `[out, in]` or `[out, in * kh * kw]`, on the weight's device.

    By the eigenvectors of the smaller Gram matrix in double precision: about a sixth of the time of a decomposition
    of the matrix itself, and exact to 1e-7 of the largest singular value.
    """
    matrix = as_matrix(weight).detach().double()
    if matrix.shape[0] > matrix.shape[1]:
        turned = _wide(matrix.T)
        return Singular(turned.right.T, turned.values, turned.left.T)
    return _wide(matrix)


def _wide(matrix: Float[Tensor, "rows columns"]) -> Singular:
    """Of a matrix with at most as many rows as columns."""
    left = torch.linalg.eigh(matrix @ matrix.T).eigenvectors.flip(1)
    scaled = left.T @ matrix
    values = scaled.norm(dim=1)  # better than the roots of eigenvalues, which have lost half of their digits
    order = values.argsort(descending=True, stable=True)
    left, scaled, values = left[:, order], scaled[order], values[order]
    whole = values > ROUNDING * values[0]
    right = torch.where(whole[:, None], scaled / values.clamp_min(torch.finfo(values.dtype).tiny)[:, None], 0)
    return Singular(left, values, right)


def reshaped(matrix: Float[Tensor, "out columns"], weight: Float[Tensor, "out ..."]) -> Float[Tensor, "out ..."]:
    """A matrix as the weight it stands for: its shape, type and place."""
    return matrix.to(weight.device, weight.dtype).reshape(weight.shape)
