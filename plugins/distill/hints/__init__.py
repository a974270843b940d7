"""FitNet: hidden layers of the student are led to those of the teacher."""

from __future__ import annotations

from typing import TYPE_CHECKING, final

from pydantic import Field, model_validator

from prunery import hookimpl
from prunery.taught import FeatureLearner, FeatureSettings

if TYPE_CHECKING:
    from jaxtyping import Float, Int
    from torch import Tensor, nn

    from prunery.companion import Companion
    from prunery.data import Dataset


class HintsSettings(FeatureSettings):
    """Settings of distillation by hints, beside those of training."""

    hint_weight: float = Field(100.0, ge=0, description="weight of the hints' mean squared error")
    first_stage: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="share of all steps in which the hints alone train, and after which they are no longer used; "
        "0 = hints and logits together throughout",
    )
    student_layers: tuple[str, ...] = Field(
        (), description="patterns (as in a shell) of the student's layers whose outputs are led; empty = a middle one"
    )
    teacher_layers: tuple[str, ...] = Field(
        (),
        description="patterns of the teacher's layers, as many in the order they run; empty = the student's patterns",
    )

    @model_validator(mode="after")
    def _led(self) -> HintsSettings:
        if self.teacher_layers and not self.student_layers:
            raise ValueError("teacher_layers go with student_layers: name those too")
        return self


@final
class Hints(FeatureLearner):
    """Cross-entropy with the labels, and the error of regressors from the student's features to the teacher's."""

    stage = "distill"
    name = "hints"
    Settings = HintsSettings

    def companion(self, student: nn.Module, teacher: nn.Module, dataset: Dataset) -> Companion:
        """A regressor for every pair of layers."""
        from .core import Regressors, pairs

        chosen = self.settings
        found = pairs(student, teacher, dataset.spec.example(2), chosen.student_layers, chosen.teacher_layers)
        return Regressors(found, chosen.hint_weight, chosen.first_stage)

    def loss_at(
        self,
        done: float,
        logits: Float[Tensor, "replicas batch classes"],
        labels: Int[Tensor, "replicas batch"],
        teacher: Float[Tensor, "replicas batch classes"] | None,
    ) -> Float[Tensor, " replicas"]:
        """The logits' share, which is none in the first stage."""
        return self.loss(logits, labels, teacher) * float(done > self.settings.first_stage)


@hookimpl
def register_methods() -> list[type]:
    """Hand the registry this recipe."""
    return [Hints]
