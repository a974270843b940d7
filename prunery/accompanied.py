"""The training loop of a student with a companion: one network, whose inside is compared with its teacher's."""

from __future__ import annotations

from jaxtyping import Float, Int
from torch import Tensor, nn

from prunery.batching import Batch
from prunery.companion import Lesson, accompany
from prunery.epochs import Run, Task
from prunery.optimizing import add_parameters
from prunery.programs import Program
from prunery.taught import FeatureLearner
from prunery.teacher import Teacher


class AccompaniedRun(Run):
    """A program of one network on its way through the epochs, and its companion."""

    def __init__(self, task: Task, program: Program, teacher: Teacher, title: str) -> None:
        super().__init__(task, program, teacher, title)
        (student,) = self.ensemble.networks
        assert isinstance(task.learner, FeatureLearner)
        seed = task.seed("companion", program.seeds[0])
        self.company = accompany(task.learner, student, teacher.network, task.dataset, seed, task.device)
        add_parameters(self.optimizer, self.company.companion.parameters(), self.settings)

    def _prepare(self) -> None:
        """The teacher runs in every step: its features are wanted, and too large to keep."""

    def _losses(
        self, batch: Batch, labels: Int[Tensor, "1 batch"]
    ) -> tuple[Float[Tensor, "1 batch classes"], Float[Tensor, " 1"]]:
        with self.company.listening():
            logits, losses = super()._losses(batch, labels)
        return logits, losses + self.company.loss(Lesson(labels[0], batch.samples[0], self.done))

    def _clip(self, limit: float) -> None:
        """The companion's gradient counts apart, so that the student is clipped as it would be alone."""
        super()._clip(limit)
        nn.utils.clip_grad_norm_(self.company.companion.parameters(), limit)
