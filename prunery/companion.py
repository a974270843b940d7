"""Layers that are trained along with a student and thrown away: regressors, projections, memories."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from prunery.data import Dataset
from prunery.features import Feature, listening
from prunery.taught import FeatureLearner


@dataclass(frozen=True)
class Lesson:
    """One step of one student: its labels, which samples of the training split they are, and the share of all steps
    that is done with it (above 0, 1 at the last)."""

    labels: Int[Tensor, " batch"]
    samples: Int[Tensor, " batch"]
    done: float


class Companion(nn.Module, ABC):
    """What compares features of one student with its teacher's.

    `student` and `teacher` say which features it wants; its parameters are trained with the student's, at its rate.
    """

    student: Sequence[Feature]
    teacher: Sequence[Feature]

    @abstractmethod
    def forward(
        self,
        student: Sequence[Float[Tensor, "batch channels ..."]],
        teacher: Sequence[Float[Tensor, "batch channels ..."]],
        lesson: Lesson,
    ) -> Float[Tensor, ""]:
        """The loss to add to the logits', a mean over the batch. The teacher's features carry no gradient."""


class Company:
    """A companion beside a student and a teacher, whose features it hears while they run."""

    def __init__(self, companion: Companion, student: nn.Module, teacher: nn.Module) -> None:
        self.companion, self._networks = companion, (student, teacher)
        self._heard: list[dict[Any, Any]] = []

    @contextmanager
    def listening(self) -> Iterator[None]:
        """While it lasts, one run of both networks is heard."""
        with ExitStack() as stack:
            self._heard = [
                stack.enter_context(listening(network, [(feature.layer, feature.side) for feature in wanted]))
                for network, wanted in zip(self._networks, self._wanted, strict=True)
            ]
            yield

    @property
    def _wanted(self) -> tuple[Sequence[Feature], Sequence[Feature]]:
        return self.companion.student, self.companion.teacher

    def loss(self, lesson: Lesson) -> Float[Tensor, ""]:
        """What the companion makes of what was heard last."""
        student, teacher = (
            [feature.of(heard[feature.layer, feature.side]) for feature in wanted]
            for heard, wanted in zip(self._heard, self._wanted, strict=True)
        )
        self._heard = []
        loss: Tensor = self.companion(student, teacher, lesson)
        return loss


def accompany(
    learner: FeatureLearner, student: nn.Module, teacher: nn.Module, dataset: Dataset, seed: int, device: torch.device
) -> Company:
    """The companion of a student, its first values drawn from a seed of its own."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        companion = learner.companion(student, teacher, dataset)
    return Company(companion.to(device).train(), student, teacher)
