"""Contrastive representation distillation: a student's embedding must single out its teacher's of the same sample."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, final

from pydantic import Field

from prunery import hookimpl
from prunery.taught import FeatureLearner, FeatureSettings

if TYPE_CHECKING:
    from torch import nn

    from prunery.companion import Companion
    from prunery.data import Dataset


class CrdSettings(FeatureSettings):
    """Settings of contrastive distillation, beside those of training."""

    contrast_weight: float = Field(0.8, ge=0, description="weight of the contrastive loss")
    dimensions: int = Field(128, ge=1, description="length of the embeddings")
    contrast_temperature: float = Field(0.07, gt=0, description="by which cosines are divided")
    negatives: Literal["batch", "memory"] = Field(
        "batch", description="what a sample is told apart from: the rest of its batch, or a memory of all samples"
    )
    memory_negatives: int = Field(16384, ge=1, description="negatives drawn per step and network (memory)")
    memory_momentum: float = Field(0.5, ge=0, lt=1, description="share of the old embedding in a memory's update")
    same_class: bool = Field(False, description="whether samples of a sample's own class are negatives too")
    student_layer: str | None = Field(
        None, description="pattern of the student's layer whose output is embedded; null = what the last layer reads"
    )
    teacher_layer: str | None = Field(None, description="the same of the teacher; null = what its last layer reads")


@final
class Crd(FeatureLearner):
    """Cross-entropy with the labels, and InfoNCE between embeddings of the student and of the teacher."""

    stage = "distill"
    name = "crd"
    Settings = CrdSettings

    def companion(self, student: nn.Module, teacher: nn.Module, dataset: Dataset) -> Companion:
        """A projection of each network's features, and memories if asked for."""
        from .core import Contrast, Memory, embedded

        chosen, example = self.settings, dataset.spec.example(2)
        features = (
            embedded(student, example, chosen.student_layer, "student"),
            embedded(teacher, example, chosen.teacher_layer, "teacher"),
        )
        memory = None
        if chosen.negatives == "memory":
            memory = Memory(dataset.train.labels, chosen.dimensions, chosen.memory_negatives, chosen.memory_momentum)
        return Contrast(features, memory, chosen)


@hookimpl
def register_methods() -> list[type]:
    """Hand the registry this recipe."""
    return [Crd]
