"""The loss of supervised training, which `train` and `finetune` share. Importing this module imports no torch."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from prunery.contract import Learner
from prunery.trainsettings import TrainingSettings

if TYPE_CHECKING:
    from jaxtyping import Float, Int
    from torch import Tensor


class SupervisedLearner(Learner):
    """Cross-entropy with the labels, smoothed if asked."""

    Settings: ClassVar[type[TrainingSettings]] = TrainingSettings

    def loss(
        self,
        logits: Float[Tensor, "replicas batch classes"],
        labels: Int[Tensor, "replicas batch"],
        teacher: Float[Tensor, "replicas batch classes"] | None,
    ) -> Float[Tensor, " replicas"]:
        """The mean cross-entropy of each replica's batch."""
        from prunery.losses import cross_entropy

        return cross_entropy(logits, labels, self.settings.label_smoothing)
