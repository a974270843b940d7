"""What distillation recipes share: the settings, and learners that look inside networks. Imports no torch by itself."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from prunery.contract import Learner
from prunery.trainsettings import TrainingSettings

if TYPE_CHECKING:
    from jaxtyping import Float, Int
    from torch import Tensor, nn

    from prunery.companion import Companion
    from prunery.data import Dataset


class TaughtSettings(TrainingSettings):
    """Settings of a recipe with a teacher, beside those of training."""

    teacher: str = Field("dense", description="dense = the network the recipe started from, or a recipe (a base, say)")
    temperature: float = Field(4.0, gt=0, description="by which both networks' logits are divided")


class UntaughtSettings(TrainingSettings):
    """Settings of a recipe that a teacher is compared with, but has no part in."""

    teacher: str | None = Field(
        None, description="a network that evaluations compare predictions with, as for `kd`; training does not see it"
    )


class FeatureSettings(TaughtSettings):
    """Settings of a recipe that compares features."""

    kd_weight: float = Field(
        0.0,
        ge=0,
        description="weight of T^2 KL(teacher || student) beside the labels' cross-entropy, whose weight is 1",
    )


class FeatureLearner(Learner):
    """A recipe that compares what student and teacher compute inside, by layers that are trained along.

    Its networks are trained one after another: hooks read single networks, not batched programs.
    """

    Settings: ClassVar[type[FeatureSettings]] = FeatureSettings
    teacher = True

    @abstractmethod
    def companion(self, student: nn.Module, teacher: nn.Module, dataset: Dataset) -> Companion:
        """The layers that one student is trained with and that are then thrown away; both networks are left alone.

        First values come from torch's global generator, which is seeded for the replica.
        """

    def loss(
        self,
        logits: Float[Tensor, "replicas batch classes"],
        labels: Int[Tensor, "replicas batch"],
        teacher: Float[Tensor, "replicas batch classes"] | None,
    ) -> Float[Tensor, " replicas"]:
        """What the logits contribute: cross-entropy + kd_weight * T^2 KL(teacher || student); see `Companion`."""
        from prunery.divergence import divergence
        from prunery.losses import cross_entropy

        chosen = self.settings
        loss = cross_entropy(logits, labels, chosen.label_smoothing)
        if chosen.kd_weight == 0:
            return loss
        assert teacher is not None
        return loss + chosen.kd_weight * divergence(logits, teacher, chosen.temperature)
