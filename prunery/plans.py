"""What a quantizer answers for one layer, and what must hold of it before it is put in place."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from prunery.errors import PruneryError
from prunery.formats import BITS, blocks, is_integer
from prunery.integer import Affine, IntegerPlan
from prunery.stored import DTYPES
from prunery.weightonly import WeightPlan

Plan = IntegerPlan | WeightPlan
MASK = "weight/mask"


def check_plan(plan: Plan, layer: nn.Module, who: str) -> None:
    """Raises `PruneryError`, beginning with `who`, for a plan that does not fit the layer or revives pruned weights."""
    if isinstance(plan, IntegerPlan):
        _check_bits(plan, who)
        format_, group = f"int{plan.bits}", None
    else:
        if plan.format not in DTYPES:
            raise PruneryError(f"{who} has the format {plan.format!r}, which is none of {', '.join(DTYPES)}")
        format_, group = plan.format, plan.group
    weight = layer.get_parameter("weight")
    _check_weight(plan.weight, format_, weight.shape, who)
    if is_integer(format_):
        _check_scale(plan.scale, weight.shape, group, who)
    if MASK in layer._buffers and plan.weight[~layer.get_buffer(MASK).to(plan.weight.device)].any():
        raise PruneryError(f"{who} makes pruned weights nonzero: zero must stay zero, so use symmetric weights")


def _check_bits(plan: IntegerPlan, who: str) -> None:
    if plan.bits not in (4, 8):
        raise PruneryError(f"{who} has integers of {plan.bits} bits: there are layers for 8 and for 4")
    for grid in (plan.input, plan.output):
        if not _is_grid(grid, plan.bits):
            most = 2**plan.bits - 1
            raise PruneryError(f"{who} has a grid that is none: {grid} (scale above 0, zero point in 0..{most})")


def _is_grid(grid: Affine, bits: int) -> bool:
    return 0 < grid.scale < float("inf") and 0 <= grid.zero_point < 2**bits


def _check_weight(found: Tensor, format_: str, shape: torch.Size, who: str) -> None:
    dtype = torch.int8 if is_integer(format_) else DTYPES[format_]
    if (found.dtype, found.shape) != (dtype, shape):
        raise PruneryError(f"{who} holds weights {found.dtype} {list(found.shape)}, wanted {dtype} {list(shape)}")
    if not is_integer(format_):
        if not found.isfinite().all():
            raise PruneryError(f"{who} holds infinity: fp16 ends at 65504, so use bf16, whose range is that of fp32")
        return
    reach = 2 ** (BITS[format_] - 1)
    if found.numel() and not -reach <= int(found.min()) <= int(found.max()) < reach:
        raise PruneryError(f"{who} holds integers beyond -{reach}..{reach - 1}, which {format_} cannot store")


def _check_scale(scale: Tensor | None, shape: torch.Size, group: int | None, who: str) -> None:
    wanted = [shape[0], *([] if group is None else [blocks(shape, group)])]
    if scale is None or list(scale.shape) != wanted or not (scale.isfinite() & (scale > 0)).all():
        each = "output channel" if group is None else f"group of {group}"
        count = " x ".join(map(str, wanted))
        raise PruneryError(f"{who} wants one positive scale per {each}, {count} of them")
