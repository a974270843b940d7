"""The stage `distill`: a checkpoint's networks trained to agree with a teacher's, masks frozen."""

from __future__ import annotations

from copy import deepcopy

from prunery.checkpoint import Checkpoint, Replica
from prunery.contract import Learner
from prunery.data import Dataset
from prunery.errors import PruneryError
from prunery.finetune import train_copies
from prunery.history import Progress
from prunery.training import Outcome


def distill(
    learner: Learner, parent: Checkpoint, teacher: Checkpoint, dataset: Dataset, progress: Progress
) -> tuple[dict[int, Replica], Outcome]:
    """Train copies of the parent's networks under the teacher's logits; edits and masks carry over.

    The teacher of a replica is the teacher's replica of the same seed, else the teacher's first one.
    Raises `PruneryError` if the teacher tells other classes apart or was built for other inputs.
    """
    ours, theirs = parent.origin.spec, teacher.origin.spec
    if (ours.classes, ours.shape) != (theirs.classes, theirs.shape):
        raise PruneryError(
            f"the teacher was built for {theirs.classes} classes of inputs {theirs.shape}, the student for "
            f"{ours.classes} of {ours.shape}: name a teacher trained on the same data"
        )
    first = teacher.seeds[0]
    copies = {seed: deepcopy(replica.network) for seed, replica in teacher.replicas.items()}
    teachers = {seed: copies.get(seed, copies[first]) for seed in parent.seeds}
    return train_copies(learner, parent, dataset, progress, teachers)
