"""The stage `train`: fresh networks, one per seed, taught a data set."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from prunery.checkpoint import Checkpoint, Origin, Replica
from prunery.contract import Architecture, Learner
from prunery.data import Dataset
from prunery.edits import replay
from prunery.history import History, Progress
from prunery.layers import copyable
from prunery.training import fit_shapes


def train(
    learner: Learner,
    architecture: Architecture,
    origin: Origin,
    dataset: Dataset,
    seeds: list[int],
    progress: Progress,
) -> tuple[Checkpoint, History]:
    """Make and train a network for each seed; see `train_shapes`."""
    return train_shapes(learner, [(architecture, origin)], dataset, seeds, progress)[0]


def train_shapes(
    learner: Learner,
    shapes: Sequence[tuple[Architecture, Origin]],
    dataset: Dataset,
    seeds: list[int],
    progress: Progress,
) -> list[tuple[Checkpoint, History]]:
    """Make and train a network of each shape for each seed. The caller adds the rest of the provenance.

    Seed s gives the same first weights, order of data and augmentation whatever the other seeds and shapes are.
    Raises `PruneryError` if no network's loss stays finite; those that diverge are named in the provenance.
    """
    made = [{seed: _edited(learner, initial(*shape, seed), shape[1]) for seed in seeds} for shape in shapes]
    networks = [{seed: replica.network for seed, replica in replicas.items()} for replicas in made]
    batched = all(architecture.batched for architecture, _ in shapes)
    outcomes = fit_shapes(learner, networks, dataset, batched, progress)
    return [
        (Checkpoint(origin, replicas, outcome.provenance), outcome.history)
        for (_, origin), replicas, outcome in zip(shapes, made, outcomes, strict=True)
    ]


def _edited(learner: Learner, network: nn.Module, origin: Origin) -> Replica:
    """A fresh network with the edits that the recipe asks for."""
    edits = learner.edits(network, origin.spec.example(1))
    return Replica(replay(network, edits), edits)


def initial(architecture: Architecture, origin: Origin, seed: int) -> nn.Module:
    """The network of a seed before training; torch's global generator is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return copyable(architecture.create(origin.spec))
