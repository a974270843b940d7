"""Integers of one layer from the grids it was trained with."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor

from prunery.integer import Affine, IntegerPlan


def plan_of(weight: Float[Tensor, "out ..."], row: Mapping[str, Tensor]) -> IntegerPlan:
    """The plan of a layer from its row of `prunery.simulating.observed`; rounds as fake quantization does."""
    scale = row["weight_scale"]
    steps = torch.round(weight / scale.reshape(-1, *[1] * (weight.dim() - 1)))
    return IntegerPlan(steps.clamp(-128, 127).to(torch.int8), scale, _grid(row, "input"), _grid(row, "output"))


def _grid(row: Mapping[str, Tensor], side: str) -> Affine:
    return Affine(float(row[f"{side}_scale"]), int(row[f"{side}_zero_point"]))
