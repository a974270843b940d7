"""The stage `evaluate`: accuracy, loss and agreement on validation and test, kept apart, and sizes, per replica."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
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
from prunery.teaching import teachers

SPLITS = ("validation", "test")


def evaluate(
    method: Evaluator,
    checkpoint: Checkpoint,
    dense: Checkpoint,
    dataset: Dataset,
    folder: Path | None = None,
    teacher: Checkpoint | None = None,
) -> dict[str, Any]:
    """Figures of every replica, as JSON: `{"replicas": {seed: {"validation", "test", sizes, "layers"}}}`.

    Beside `replicas` stands the `gallery` of the first of them, if the method makes one.

    `dense` holds the recipe's dense networks of the same seeds. `folder` is the checkpoint's: if given, `file_bytes`
    tells the size of a replica's files. `teacher` is whom the recipe's last student is compared with: the figures in
    `Evaluator.compares` are then taken against it too, as `teacher_...`.
    Raises `PruneryError` if a seed is not in `dense`, the teacher does not fit, or a figure is not finite.
    """
    itself = checkpoint.hash != "" and checkpoint.hash == dense.hash
    beside = {} if teacher is None else teachers(teacher, checkpoint)
    same = teacher is not None and teacher.hash != "" and teacher.hash == dense.hash
    seen = _seen(dataset, method.settings)
    figures: dict[str, Any] = {}
    gallery: dict[str, Any] = {}
    for seed, replica in checkpoint.replicas.items():
        if seed not in dense.replicas:
            raise PruneryError(f"evaluate: the dense network has no seed {seed} (it has {dense.seeds}): train it anew")
        network = replica.network.to(device()).eval()
        reference = network if itself else dense.replicas[seed].network.to(device()).eval()
        taught = reference if same else beside.get(seed)
        found = {split: _figures(method, network, reference, taught, seen, split, seed) for split in SPLITS}
        stored = {} if folder is None else {"file_bytes": file_bytes(folder, seed)}
        figures[str(seed)] = _row(found, sizes(network, dataset.spec)) | stored
        if len(figures) == 1 and (made := method.gallery(network, reference, seen)):
            gallery = {"gallery": made.model_dump(mode="json")}
        for used in (network, reference):
            used.cpu()
    return {"replicas": figures, **gallery}


def _row(found: dict[str, dict[str, Any]], sized: dict[str, Any]) -> dict[str, Any]:
    """Figures by split and sizes; what is known of single layers stands with the layers' sizes, as `test_...`."""
    for split, figures in found.items():
        for key, layer in figures.pop("layers", {}).items():
            sized["layers"].setdefault(key, {}).update({f"{split}_{name}": value for name, value in layer.items()})
    return {**found, **sized}


def _seen(dataset: Dataset, settings: Any) -> Dataset:
    """The data set with only the samples that the method asks for."""
    if not hasattr(settings, "samples"):
        return dataset
    validation, test = (dataset.split(split).drawn(settings.samples, settings.seed) for split in SPLITS)
    return replace(dataset, validation=validation, test=test)


def file_bytes(folder: Path, seed: int) -> int:
    """Bytes of one replica's files in a checkpoint's folder, companions included."""
    names = read_record(folder)["replicas"][str(seed)]["files"]
    return sum((folder / name).stat().st_size for name in names)


def _figures(
    method: Evaluator,
    network: nn.Module,
    dense: nn.Module,
    teacher: nn.Module | None,
    dataset: Dataset,
    split: str,
    seed: int,
) -> dict[str, Any]:
    """What the method finds, and what it finds beside the teacher, if there is one."""
    figures = _split(method, network, dense, dataset, split, seed)
    if teacher is None or not method.compares:
        return figures
    other = figures
    if teacher is not dense:
        other = _split(method, network, teacher.to(device()).eval(), dataset, split, seed)
        teacher.cpu()
    return figures | {f"teacher_{name}": other[name] for name in method.compares}


def _split(
    method: Evaluator, network: nn.Module, dense: nn.Module, dataset: Dataset, split: str, seed: int
) -> dict[str, Any]:
    with torch.no_grad():
        figures = method.figures(network, dense, _batches(dataset, split, method.settings.batch))
    for name, value in _numbers(figures):
        if not math.isfinite(value):
            raise PruneryError(
                f"evaluate: {name} of seed {seed} on the {split} split is {value}: "
                "train with a lower learning rate, or compress less"
            )
    return figures


def _numbers(figures: dict[str, Any]) -> Iterator[tuple[str, float]]:
    """Figures by name, those of single layers included."""
    for name, value in figures.items():
        if isinstance(value, dict):
            yield from ((f"{inner} of {key}", each) for key, row in value.items() for inner, each in row.items())
        else:
            yield name, value


def _batches(dataset: Dataset, split: str, size: int) -> Iterator[tuple[Tensor, Tensor]]:
    for inputs, labels in dataset.batches(split, size):
        yield inputs.to(device()), labels.to(device())
