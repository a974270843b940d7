"""The stage `finetune`: a checkpoint's networks trained on, masks frozen."""

from __future__ import annotations

from copy import deepcopy

from torch import Tensor, nn

from prunery.checkpoint import Checkpoint, Replica
from prunery.contract import Learner
from prunery.data import Dataset
from prunery.edits import replay
from prunery.history import Progress
from prunery.network import architecture
from prunery.training import Outcome, fit


def finetune(
    learner: Learner, parent: Checkpoint, dataset: Dataset, progress: Progress
) -> tuple[dict[int, Replica], Outcome]:
    """Train copies of the parent's networks; edits carry over, weights that a mask holds at zero stay there.

    Raises `PruneryError` for a quantized parent and if no network's loss stays finite.
    """
    return train_copies(learner, parent, dataset, progress)


def train_copies(
    learner: Learner,
    parent: Checkpoint,
    dataset: Dataset,
    progress: Progress,
    teachers: dict[int, nn.Module] | None = None,
) -> tuple[dict[int, Replica], Outcome]:
    """Copies of the parent's replicas, trained together where the family allows it and they share their edits."""
    replicas = {seed: _copy(learner, one, parent.origin.spec.example(1)) for seed, one in parent.replicas.items()}
    edits = [replica.edits for replica in replicas.values()]
    batched = architecture(parent.origin).batched and all(one == edits[0] for one in edits)
    networks = {seed: replica.network for seed, replica in replicas.items()}
    return replicas, fit(learner, networks, dataset, batched, progress, teachers)


def _copy(learner: Learner, one: Replica, example: Tensor) -> Replica:
    """A copy of a replica with the edits that the recipe asks for."""
    network = deepcopy(one.network)
    edits = learner.edits(network, example)
    return Replica(replay(network, edits), [*one.edits, *edits])
