"""The calibration stage: statistics of each replica over some samples of the training or the validation split."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from prunery.checkpoint import Checkpoint
from prunery.contract import CalibrationSettings, Calibrator
from prunery.data import Dataset
from prunery.leftout import explaining
from prunery.network import device

Batches = Iterator[tuple[Tensor, Int[Tensor, " batch"]]]


def calibrate(method: Calibrator, checkpoint: Checkpoint, dataset: Dataset) -> dict[int, dict[str, dict[str, Tensor]]]:
    """Seed -> key of the weight -> statistic -> tensor (on the CPU); all replicas see the same samples in one order."""
    chosen = drawn(dataset, method.settings)
    found = {}
    for seed, replica in checkpoint.replicas.items():
        network = replica.network.to(device()).eval()
        with explaining(network):
            rows = method.measure(network, _batches(chosen, method.settings))
        found[seed] = {key: {name: value.cpu() for name, value in row.items()} for key, row in rows.items()}
        network.cpu()
    return found


def drawn(dataset: Dataset, settings: CalibrationSettings) -> Dataset:
    """The data set with only the samples that a calibration sees in the split it looks at."""
    seen = dataset.split(settings.split).drawn(settings.samples, settings.seed)
    return replace(dataset, train=seen) if settings.split == "train" else replace(dataset, validation=seen)


def _batches(dataset: Dataset, settings: CalibrationSettings) -> Batches:
    place = device()
    for inputs, labels in dataset.batches(settings.split, settings.batch):
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


def histogram_share(counts: Int[Tensor, " bins"], edges: Float[Tensor, "2"], value: float) -> float:
    """The share (0..1) of the samples that lie below `value`, from a histogram over equal bins.

    The inverse of `histogram_quantile`: linear within a bin, so it is off by less than the share of the value's bin.
    """
    low, high = (float(edge) for edge in edges)
    place = (value - low) / (high - low) * len(counts)
    if place <= 0 or place >= len(counts):
        return float(place > 0)
    whole = int(place)
    below = float(counts[:whole].sum()) + (place - whole) * float(counts[whole])
    return below / float(counts.sum())
