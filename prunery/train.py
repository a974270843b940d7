"""The stage `train`: fresh networks, one per seed, taught a data set."""

from __future__ import annotations

import torch
from torch import nn

from prunery.checkpoint import Checkpoint, Origin, Replica
from prunery.contract import Architecture, Learner
from prunery.data import Dataset
from prunery.edits import replay
from prunery.history import History, Progress
from prunery.training import fit


def train(
    learner: Learner,
    architecture: Architecture,
    origin: Origin,
    dataset: Dataset,
    seeds: list[int],
    progress: Progress,
) -> tuple[Checkpoint, History]:
    """Make and train a network for each seed. The caller adds the provenance.

    Seed s gives the same first weights, order of data and augmentation whatever the other seeds are.
    Raises `PruneryError` if a loss is not finite.
    """
    replicas = {seed: _edited(learner, initial(architecture, origin, seed), origin) for seed in seeds}
    networks = {seed: replica.network for seed, replica in replicas.items()}
    history = fit(learner, networks, dataset, architecture.batched, progress)
    return Checkpoint(origin, replicas), history


def _edited(learner: Learner, network: nn.Module, origin: Origin) -> Replica:
    """A fresh network with the edits that the recipe asks for."""
    edits = learner.edits(network, origin.spec.example(1))
    return Replica(replay(network, edits), edits)


def initial(architecture: Architecture, origin: Origin, seed: int) -> nn.Module:
    """The network of a seed before training; torch's global generator is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return architecture.create(origin.spec)
