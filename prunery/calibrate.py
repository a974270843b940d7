"""The calibration stage: statistics of each replica's activations or gradients over some training samples."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from prunery.checkpoint import Checkpoint
from prunery.contract import CalibrationSettings, Calibrator
from prunery.data import Dataset, Split
from prunery.network import device

Batches = Iterator[tuple[Tensor, Int[Tensor, " batch"]]]


def calibrate(method: Calibrator, checkpoint: Checkpoint, dataset: Dataset) -> dict[int, dict[str, dict[str, Tensor]]]:
    """Seed -> key of the weight -> statistic -> tensor (on the CPU); all replicas see the same samples in one order."""
    chosen = drawn(dataset, method.settings)
    found = {}
    for seed, replica in checkpoint.replicas.items():
        network = replica.network.to(device()).eval()
        rows = method.measure(network, _batches(chosen, method.settings.batch))
        found[seed] = {key: {name: value.cpu() for name, value in row.items()} for key, row in rows.items()}
        network.cpu()
    return found


def drawn(dataset: Dataset, settings: CalibrationSettings) -> Dataset:
    """The data set with only the samples that a calibration sees in its training split.

    A random subset, not the head: image folders are stored class by class, so their head shows a class or two.
    """
    count = len(dataset.train)
    if settings.samples >= count:
        return dataset
    generator = torch.Generator().manual_seed(settings.seed)
    index = torch.randperm(count, generator=generator)[: settings.samples].sort().values
    return replace(dataset, train=Split(dataset.train.inputs[index], dataset.train.labels[index]))


def _batches(dataset: Dataset, size: int) -> Batches:
    place = device()
    for inputs, labels in dataset.batches("train", size):
        yield inputs.to(place), labels.to(place)


def histogram_quantile(counts: Int[Tensor, " bins"], edges: Float[Tensor, "2"], share: float) -> float:
    """The value below which `share` (0..1) of the samples lie, from a histogram over equal bins.

    Linear within a bin, so it is off by less than one bin's width, `(edges[1] - edges[0]) / bins`.
    """
    total = counts.sum()
    low, high = (float(edge) for edge in edges)
    above = counts.double().cumsum(0)
    place = int(torch.searchsorted(above, share * float(total)).clamp_max(len(counts) - 1))
    inside = (share * float(total) - float(above[place] - counts[place])) / max(float(counts[place]), 1.0)
    return low + (high - low) / len(counts) * (place + min(max(inside, 0.0), 1.0))
