"""Training on from labels, after pruning or any other change."""

from __future__ import annotations

from typing import TYPE_CHECKING, final

from prunery import Learner, hookimpl
from prunery.trainsettings import TrainingSettings

if TYPE_CHECKING:
    from jaxtyping import Float, Int
    from torch import Tensor


@final
class Supervised(Learner):
    """Cross-entropy with the labels, smoothed if asked."""

    stage = "finetune"
    name = "supervised"
    Settings = TrainingSettings

    def loss(
        self,
        logits: Float[Tensor, "replicas batch classes"],
        labels: Int[Tensor, "replicas batch"],
        teacher: Float[Tensor, "replicas batch classes"] | None,
    ) -> Float[Tensor, " replicas"]:
        """The mean cross-entropy of each replica's batch."""
        from prunery.losses import cross_entropy

        return cross_entropy(logits, labels, self.settings.label_smoothing)


@hookimpl
def register_methods() -> list[type]:
    """Hand the registry this recipe."""
    return [Supervised]
