"""The stage `train`: fresh networks, one per seed, taught a data set."""

from __future__ import annotations

import torch
from torch import nn

from prunery.checkpoint import Checkpoint, Origin, Replica
from prunery.contract import Architecture, Learner
from prunery.data import Dataset
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
    networks = {seed: initial(architecture, origin, seed) for seed in seeds}
    history = fit(learner, networks, dataset, architecture.batched, progress)
    return Checkpoint(origin, {seed: Replica(network) for seed, network in networks.items()}), history


def initial(architecture: Architecture, origin: Origin, seed: int) -> nn.Module:
    """The network of a seed before training; torch's global generator is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return architecture.create(origin.spec)
