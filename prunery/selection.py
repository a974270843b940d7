"""How a reservoir is trained, so that its best weights can be told: settings and recipe. Imports no torch by itself.

Source: "Pruning via the Marchenko-Pastur distribution", the selection phase of SER; the defaults are those of the
published driver.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal, NamedTuple

from pydantic import Field

from prunery.contract import Learner
from prunery.trainsettings import TrainingSettings

if TYPE_CHECKING:
    from jaxtyping import Float, Int
    from torch import Tensor


class SelectionSettings(TrainingSettings):
    """Settings of the phase that trains a reservoir, beside those of training."""

    optimizer: Literal["adam", "adamw", "sgd"] = Field("adamw", description="adam, adamw or sgd")
    learning_rate: float = Field(
        4e-4, gt=0, description="peak learning rate of the selection phase, per step; published: 8 times fine-tuning's"
    )
    schedule: Literal["constant", "cosine", "linear", "step"] = Field(
        "cosine",
        description="rate after the warm-up: constant, cosine or linear to final_rate (per step), or step (per epoch)",
    )
    final_rate: float = Field(
        0.25, ge=0, le=1, description="share of learning_rate at which schedules cosine and linear end"
    )
    batch_size: int = Field(256, ge=1, description="samples per step; published: twice fine-tuning's")
    epochs: int = Field(1, ge=1, description="passes over the training split, before batches_scaled and least_batches")
    batches_scaled: bool = Field(
        True, description="whether the steps of epochs are multiplied by the reservoir's share of the weights"
    )
    least_batches: int = Field(128, ge=1, description="steps of the selection phase at least, as far as most_epochs go")
    most_epochs: int | None = Field(
        1, ge=1, description="passes over the training split at most, least_batches or not; null = no limit"
    )
    logit_weight: float = Field(
        1.0, ge=0, description="weight of the mean squared difference from the parent's logits, beside cross-entropy"
    )


class Length(NamedTuple):
    """How long a selection phase is: `epochs` passes over `batches` batches each."""

    epochs: int
    batches: int


def length(settings: SelectionSettings, batches: int, share: float) -> Length:
    """The length of the selection phase on a training split of so many batches, `share` of the weights being trained.

    The steps are spread over as few passes as hold them, and evenly: of a phase shorter than a pass each batch is seen
    once, one of 1.3 passes sees two thirds of the split twice.
    """
    steps = settings.epochs * batches * (share if settings.batches_scaled else 1.0)
    steps = max(1, settings.least_batches, math.ceil(steps))
    if settings.most_epochs is not None:
        steps = min(steps, settings.most_epochs * batches)
    epochs = math.ceil(steps / batches)
    return Length(epochs, math.ceil(steps / epochs))


class Selection(Learner):
    """Cross-entropy with the labels, and the squared distance from the parent's logits."""

    stage = "prune"
    name = "selection"
    Settings = SelectionSettings
    teacher = True

    def loss(
        self,
        logits: Float[Tensor, "replicas batch classes"],
        labels: Int[Tensor, "replicas batch"],
        teacher: Float[Tensor, "replicas batch classes"] | None,
    ) -> Float[Tensor, " replicas"]:
        """cross-entropy + logit_weight * mean (logit - parent's logit)^2 over batch and classes, of each replica."""
        from prunery.losses import cross_entropy

        loss = cross_entropy(logits, labels, self.settings.label_smoothing)
        if self.settings.logit_weight == 0:
            return loss
        assert teacher is not None
        return loss + self.settings.logit_weight * (logits - teacher).square().mean((1, 2))
