"""How far one network's predictions lie from another's."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor


def divergence(
    student: Float[Tensor, "replicas batch classes"],
    teacher: Float[Tensor, "replicas batch classes"],
    temperature: float = 1.0,
) -> Float[Tensor, " replicas"]:
    """T^2 KL(softmax(teacher / T) || softmax(student / T)), the mean over each replica's batch, in nats.

    T^2 keeps the gradient's size independent of the temperature (Hinton et al. 2015, section 2).
    """
    ours = (student / temperature).movedim(-1, 1).log_softmax(1)
    theirs = (teacher / temperature).movedim(-1, 1).log_softmax(1)
    distance = (theirs.exp() * (theirs - ours)).sum(1).mean(1)
    return temperature**2 * distance
