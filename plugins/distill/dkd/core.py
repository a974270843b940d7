"""The divergence from a teacher, split at the target class."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor


def parts(
    student: Float[Tensor, "replicas batch classes"],
    teacher: Float[Tensor, "replicas batch classes"],
    labels: Int[Tensor, "replicas batch"],
    temperature: float,
) -> tuple[Float[Tensor, " replicas"], Float[Tensor, " replicas"]]:
    """T^2 TCKD and T^2 NCKD, means over each replica's batch, in nats (Zhao et al. 2022, equation 5).

    TCKD is the divergence of (target, not target), NCKD that among the other classes, given that it is one of them.
    With p the teacher's probability of the target, KL = TCKD + (1 - p) NCKD for every sample.
    """
    ours, theirs = _split(student / temperature, labels), _split(teacher / temperature, labels)
    target, others = (
        (expected.exp() * (expected - found)).sum(-1).mean(1) for found, expected in zip(ours, theirs, strict=True)
    )
    return temperature**2 * target, temperature**2 * others


def _split(
    logits: Float[Tensor, "replicas batch classes"], labels: Int[Tensor, "replicas batch"]
) -> tuple[Float[Tensor, "replicas batch 2"], Float[Tensor, "replicas batch classes"]]:
    """Log-probabilities of (target, not target), and of the classes without the target, which has 0 (and adds none).

    That of "not target" is summed from the others', since 1 - p loses all digits where the target is almost certain.
    """
    chosen = torch.zeros_like(logits, dtype=torch.bool).scatter_(-1, labels.unsqueeze(-1), True)
    whole = logits.log_softmax(-1)
    others = whole.masked_fill(chosen, -math.inf).logsumexp(-1)
    two = torch.stack([whole.gather(-1, labels.unsqueeze(-1)).squeeze(-1), others], dim=-1)
    return two, logits.masked_fill(chosen, -math.inf).log_softmax(-1).masked_fill(chosen, 0.0)
