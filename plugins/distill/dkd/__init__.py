"""Decoupled knowledge distillation: the target class and the others, weighed apart."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, final

from pydantic import Field

from prunery import Learner, hookimpl
from prunery.taught import TaughtSettings

if TYPE_CHECKING:
    from jaxtyping import Float, Int
    from torch import Tensor


class DkdSettings(TaughtSettings):
    """Settings of decoupled distillation, beside those of training."""

    alpha: float = Field(1.0, ge=0, description="weight of the target class's divergence (TCKD)")
    beta: float = Field(8.0, ge=0, description="weight of the other classes' divergence (NCKD)")
    warmup: float = Field(
        0.1, ge=0, le=1, description="share of all steps over which the warmed weights rise linearly from 0"
    )
    warmed: Literal["both", "beta"] = Field("both", description="which weights the warm-up is for: both, or beta alone")


@final
class Dkd(Learner):
    """Cross-entropy with the labels, and the two parts of the divergence from the teacher."""

    stage = "distill"
    name = "dkd"
    Settings = DkdSettings
    teacher = True

    def loss(
        self,
        logits: Float[Tensor, "replicas batch classes"],
        labels: Int[Tensor, "replicas batch"],
        teacher: Float[Tensor, "replicas batch classes"] | None,
    ) -> Float[Tensor, " replicas"]:
        """The loss when the warm-up is over."""
        return self.loss_at(1.0, logits, labels, teacher)

    def loss_at(
        self,
        done: float,
        logits: Float[Tensor, "replicas batch classes"],
        labels: Int[Tensor, "replicas batch"],
        teacher: Float[Tensor, "replicas batch classes"] | None,
    ) -> Float[Tensor, " replicas"]:
        """cross-entropy + alpha * TCKD + beta * NCKD, the warmed weights times min(1, done / warmup)."""
        from prunery.losses import cross_entropy

        from .core import parts

        assert teacher is not None
        chosen = self.settings
        target, others = parts(logits, teacher, labels, chosen.temperature)
        rise = min(1.0, done / chosen.warmup) if chosen.warmup else 1.0
        alpha = chosen.alpha * (rise if chosen.warmed == "both" else 1.0)
        return cross_entropy(logits, labels, chosen.label_smoothing) + alpha * target + rise * chosen.beta * others


@hookimpl
def register_methods() -> list[type]:
    """Hand the registry this recipe."""
    return [Dkd]
