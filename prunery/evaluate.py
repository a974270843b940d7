"""The stage `evaluate`: accuracy, loss and agreement on validation and test, kept apart, and sizes, per replica."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from prunery.checkpoint import Checkpoint, read_record
from prunery.contract import Evaluator
from prunery.data import Dataset
from prunery.errors import PruneryError
from prunery.network import device
from prunery.sizes import sizes

SPLITS = ("validation", "test")


def evaluate(
    method: Evaluator, checkpoint: Checkpoint, dense: Checkpoint, dataset: Dataset, folder: Path | None = None
) -> dict[str, Any]:
    """Figures of every replica, as JSON: `{"replicas": {seed: {"validation", "test", sizes, "layers"}}}`.

    `dense` holds the recipe's dense networks of the same seeds. `folder` is the checkpoint's: if given, `file_bytes`
    tells the size of a replica's files. Raises `PruneryError` if a seed is not in `dense`, or a figure is not finite.
    """
    itself = checkpoint.hash != "" and checkpoint.hash == dense.hash
    figures = {}
    for seed, replica in checkpoint.replicas.items():
        if seed not in dense.replicas:
            raise PruneryError(f"evaluate: the dense network has no seed {seed} (it has {dense.seeds}): train it anew")
        network = replica.network.to(device()).eval()
        reference = network if itself else dense.replicas[seed].network.to(device()).eval()
        found = {split: _split(method, network, reference, dataset, split, seed) for split in SPLITS}
        stored = {} if folder is None else {"file_bytes": file_bytes(folder, seed)}
        figures[str(seed)] = {**found, **sizes(network, dataset.spec), **stored}
        for used in (network, reference):
            used.cpu()
    return {"replicas": figures}


def file_bytes(folder: Path, seed: int) -> int:
    """Bytes of one replica's files in a checkpoint's folder, companions included."""
    names = read_record(folder)["replicas"][str(seed)]["files"]
    return sum((folder / name).stat().st_size for name in names)


def _split(
    method: Evaluator, network: nn.Module, dense: nn.Module, dataset: Dataset, split: str, seed: int
) -> dict[str, float]:
    with torch.no_grad():
        figures = method.figures(network, dense, _batches(dataset, split, method.settings.batch))
    for name, value in figures.items():
        if not math.isfinite(value):
            raise PruneryError(
                f"evaluate: {name} of seed {seed} on the {split} split is {value}: "
                "train with a lower learning rate, or compress less"
            )
    return figures


def _batches(dataset: Dataset, split: str, size: int) -> Iterator[tuple[Tensor, Tensor]]:
    for inputs, labels in dataset.batches(split, size):
        yield inputs.to(device()), labels.to(device())
