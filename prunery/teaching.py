"""Who teaches whom: a student's replica and a teacher's."""

from __future__ import annotations

from torch import nn

from prunery.checkpoint import Checkpoint
from prunery.errors import PruneryError


def teachers(teacher: Checkpoint, student: Checkpoint) -> dict[int, nn.Module]:
    """The teacher of each of the student's replicas: the one of the same seed, else the teacher's first one.

    Raises `PruneryError` if the teacher tells other classes apart or was built for other inputs.
    """
    ours, theirs = student.origin.spec, teacher.origin.spec
    if (ours.classes, ours.shape) != (theirs.classes, theirs.shape):
        raise PruneryError(
            f"the teacher was built for {theirs.classes} classes of inputs {theirs.shape}, the student for "
            f"{ours.classes} of {ours.shape}: name a teacher trained on the same data"
        )
    first = teacher.replicas[teacher.seeds[0]]
    return {seed: teacher.replicas.get(seed, first).network for seed in student.seeds}
