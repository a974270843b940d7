"""Losses of many replicas at once: `[R, B, classes]` in, `[R]` out."""

from __future__ import annotations

import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor


def cross_entropy(
    logits: Float[Tensor, "replicas batch classes"], labels: Int[Tensor, "replicas batch"], smoothing: float = 0.0
) -> Float[Tensor, " replicas"]:
    """Mean cross-entropy of each replica; `smoothing` is the share of the target spread evenly over the classes."""
    losses = F.cross_entropy(logits.movedim(-1, 1), labels, reduction="none", label_smoothing=smoothing)
    return losses.mean(1)
