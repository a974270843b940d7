"""k:n selection along inputs, for linear and convolution weights."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from prunery import PruneryError


def inputs(weight: Float[Tensor, "out ..."], layout: str) -> int:
    """How many inputs lie along the grouped axis."""
    return weight[0].numel() if layout == "im2col" else weight.shape[1]


def nm_mask(scores: Float[Tensor, "out ..."], keep: int, group: int, layout: str) -> Bool[Tensor, "out ..."]:
    """True for the `keep` highest scores of each full group of `group` neighbouring inputs, and for the tail.

    `layout` says what neighbours are: `channels` (input channels at a fixed kernel position) or `im2col` (the kernel
    flattened to `channel * kh * kw + position`). Of equal scores the lower index is dropped.
    """
    if layout == "im2col":
        return _group_mask(scores.flatten(1), keep, group).reshape(scores.shape)
    return _group_mask(scores.movedim(1, -1), keep, group).movedim(-1, 1).contiguous()


def _group_mask(scores: Float[Tensor, "... inputs"], keep: int, group: int) -> Bool[Tensor, "... inputs"]:
    mask = torch.ones_like(scores, dtype=torch.bool)
    full = scores.shape[-1] // group * group
    order = scores[..., :full].unflatten(-1, (-1, group)).argsort(dim=-1, stable=True)
    grouped = torch.ones_like(order, dtype=torch.bool).scatter(-1, order[..., : group - keep], False)
    mask[..., :full] = grouped.flatten(-2)
    return mask


def wanda_scores(weight: Float[Tensor, "out ..."], second_moment: Float[Tensor, " inputs"]) -> Float[Tensor, "out ..."]:
    """|w| times the root mean square of its input.

    `second_moment` is E[x^2] per input feature `[in]`, or per entry of an unfolded patch `[in * kh * kw]`.
    Raises `PruneryError` if it is neither. Source: Sun et al., "A simple and effective pruning approach for large
    language models" (Wanda), whose row-wise comparison is here made within each group.
    """
    if second_moment.numel() == weight.shape[1]:
        shape = (1, weight.shape[1], *[1] * (weight.dim() - 2))
    elif second_moment.numel() == weight[0].numel():
        shape = (1, *weight.shape[1:])
    else:
        wanted = f"{weight.shape[1]} or {weight[0].numel()}"
        raise PruneryError(f"input_second_moment has {second_moment.numel()} entries, wanted {wanted}: calibrate again")
    return weight.abs() * second_moment.to(weight.device, weight.dtype).sqrt().reshape(shape)
