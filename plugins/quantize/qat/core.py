"""What one layer stores, from how it rounded in training."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from prunery.fakequant import WeightRounding
from prunery.formats import BITS
from prunery.integer import Affine, IntegerPlan
from prunery.plans import Plan
from prunery.weightonly import weight_plan


def plan_of(weight: Float[Tensor, "out ..."], row: Mapping[str, Any]) -> Plan:
    """The plan of a layer from its row of `prunery.simulating.observed`; rounds as fake quantization does."""
    rounding = row["rounding"]
    if isinstance(rounding, WeightRounding):
        return weight_plan(weight, rounding.format, rounding.grid)
    scale, half = row["weight_scale"], 2 ** (rounding.bits - 1)
    steps = torch.round(weight / scale.reshape(-1, *[1] * (weight.dim() - 1)))
    integers = steps.clamp(-half, half - 1).to(torch.int8)
    return IntegerPlan(integers, scale, _grid(row, "input"), _grid(row, "output"), rounding.bits)


def bits_of(row: Mapping[str, Any]) -> int:
    """Bits of a weight that a layer simulated."""
    rounding = row["rounding"]
    return BITS[rounding.format] if isinstance(rounding, WeightRounding) else int(rounding.bits)


def _grid(row: Mapping[str, Any], side: str) -> Affine:
    return Affine(float(row[f"{side}_scale"]), int(row[f"{side}_zero_point"]))
