"""The stage `distill`: a checkpoint's networks trained to agree with a teacher's, masks frozen."""

from __future__ import annotations

from copy import deepcopy

from prunery.checkpoint import Checkpoint, Replica
from prunery.contract import Learner
from prunery.data import Dataset
from prunery.finetune import train_copies
from prunery.history import Progress
from prunery.teaching import teachers
from prunery.training import Outcome


def distill(
    learner: Learner, parent: Checkpoint, teacher: Checkpoint | None, dataset: Dataset, progress: Progress
) -> tuple[dict[int, Replica], Outcome]:
    """Train copies of the parent's networks under the teacher's logits; edits and masks carry over.

    See `teachers` for who teaches whom, and for the `PruneryError` if the teacher does not fit. A recipe that learns
    from labels alone needs none.
    """
    if teacher is None or not learner.teacher:
        return train_copies(learner, parent, dataset, progress)
    copies = deepcopy(teachers(teacher, parent))  # as one dictionary, so that replicas that share a teacher still do
    return train_copies(learner, parent, dataset, progress, copies)
