"""Distillation of a teacher's softened predictions."""

from __future__ import annotations

from typing import TYPE_CHECKING, final

from pydantic import Field

from prunery import Learner, hookimpl
from prunery.taught import TaughtSettings

if TYPE_CHECKING:
    from jaxtyping import Float, Int
    from torch import Tensor


class KdSettings(TaughtSettings):
    """Settings of distillation, beside those of training."""

    temperature: float = Field(2.0, gt=0, description="by which both networks' logits are divided")
    weight: float = Field(0.5, ge=0, le=1, description="share of the labels in the loss; the rest is the teacher's")


@final
class Kd(Learner):
    """Cross-entropy with the labels, and Kullback-Leibler divergence from the teacher."""

    stage = "distill"
    name = "kd"
    Settings = KdSettings
    teacher = True

    def loss(
        self,
        logits: Float[Tensor, "replicas batch classes"],
        labels: Int[Tensor, "replicas batch"],
        teacher: Float[Tensor, "replicas batch classes"] | None,
    ) -> Float[Tensor, " replicas"]:
        """weight * cross-entropy + (1 - weight) * T^2 * KL(teacher || student), the mean of each replica's batch."""
        from prunery.divergence import divergence
        from prunery.losses import cross_entropy

        assert teacher is not None
        chosen = self.settings
        hard = cross_entropy(logits, labels, chosen.label_smoothing)
        return chosen.weight * hard + (1 - chosen.weight) * divergence(logits, teacher, chosen.temperature)


@hookimpl
def register_methods() -> list[type]:
    """Hand the registry this recipe."""
    return [Kd]
