"""Data sets as tensors: three fixed splits, one file, one way from stored bytes to network inputs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Bool, Int
from safetensors import SafetensorError, safe_open
from torch import Tensor

from prunery.datasettings import DataSettings as DataSettings  # sources import it from here too
from prunery.errors import PruneryError
from prunery.files import save_tensors

SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class Spec:
    """What a network must know of its data. Stored in every checkpoint.

    `shape` is `(C, H, W)` for images and `(L,)` for texts; `vocabulary` counts token ids, 0 for images.
    """

    kind: str
    shape: tuple[int, ...]
    classes: int
    vocabulary: int = 0

    @classmethod
    def of(cls, record: dict[str, Any]) -> Spec:
        """The spec that a checkpoint's record spells out."""
        return cls(**{**record, "shape": tuple(record["shape"])})

    def example(self, batch: int) -> Tensor:
        """A valid input batch: zeros for images, token 1 for texts."""
        if self.kind == "text":
            return torch.ones(batch, *self.shape, dtype=torch.int64)
        return torch.zeros(batch, *self.shape)

    def random(self, batch: int, generator: torch.Generator) -> Tensor:
        """Noise in place of samples: standard normal for images, any tokens but padding for texts."""
        if self.kind == "text":
            return torch.randint(1, self.vocabulary, (batch, *self.shape), generator=generator)
        return torch.randn(batch, *self.shape, generator=generator)


@dataclass(frozen=True)
class Split:
    """Stored samples: images `uint8 [N, C, H, W]`, texts `int32 [N, L]` (padding 0); labels `int64 [N]`."""

    inputs: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def head(self, count: int) -> Split:
        """The first `count` samples (all if there are fewer)."""
        return Split(self.inputs[:count], self.labels[:count])

    def drawn(self, count: int, seed: int) -> Split:
        """`count` samples drawn at random (all if there are fewer), in stored order.

        Not the head: image folders are stored class by class, so their head shows a class or two.
        """
        if count >= len(self):
            return self
        index = torch.randperm(len(self), generator=torch.Generator().manual_seed(seed))[:count].sort().values
        return Split(self.inputs[index], self.labels[index])


@dataclass(frozen=True)
class Dataset:
    """Three splits and what is needed to read them. `mean` and `std` are per channel, for images scaled to 0..1."""

    kind: str
    classes: tuple[str, ...]
    train: Split
    validation: Split
    test: Split
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    vocabulary: tuple[str, ...] = field(default=(), repr=False)

    @property
    def spec(self) -> Spec:
        """What networks are built for."""
        shape = tuple(self.train.inputs.shape[1:])
        return Spec(self.kind, shape, len(self.classes), len(self.vocabulary))

    def split(self, name: str) -> Split:
        """One of `train`, `validation`, `test`."""
        return {"train": self.train, "validation": self.validation, "test": self.test}[name]

    def network_inputs(self, stored: Tensor) -> Tensor:
        """Stored samples as a network wants them: normalised floats, or int64 token ids. Any leading axes."""
        if self.kind == "text":
            return stored.long()
        shape = (-1, 1, 1)
        mean = torch.tensor(self.mean, device=stored.device).reshape(shape)
        std = torch.tensor(self.std, device=stored.device).reshape(shape)
        return (stored.float() / 255 - mean) / std

    def batches(self, split: str, size: int, limit: int | None = None) -> Iterator[tuple[Tensor, Tensor]]:
        """(network inputs, labels) in stored order, `size` samples at a time, of at most `limit` samples."""
        chosen = self.split(split).head(limit or len(self.split(split)))
        for start in range(0, len(chosen), size):
            stop = start + size
            yield self.network_inputs(chosen.inputs[start:stop]), chosen.labels[start:stop]


def assemble(
    kind: str,
    classes: tuple[str, ...],
    train: tuple[Tensor, Tensor],
    test: tuple[Tensor, Tensor],
    settings: DataSettings,
    groups: Int[Tensor, " samples"] | None = None,
    **meta: Any,
) -> Dataset:
    """Check a source's two published splits, cut validation off the first (seeded), apply the limits.

    `train` and `test` are (inputs, labels). `groups` numbers the group of each training sample; samples of one group
    stay together, so that near-copies do not straddle training and validation.
    Raises `PruneryError` when a split is empty, labels leave `0..classes-1`, or training holds a single class.
    """
    generator = torch.Generator().manual_seed(settings.split_seed)
    kept = _subset(len(train[1]), settings.train_limit, generator)
    whole = Split(train[0][kept], train[1][kept])
    held = _held_out(torch.arange(len(whole)) if groups is None else groups[kept], settings.validation, generator)
    tested = _subset(len(test[1]), settings.test_limit, generator)
    parts = {
        "train": Split(whole.inputs[~held], whole.labels[~held]),
        "validation": Split(whole.inputs[held], whole.labels[held]),
        "test": Split(test[0][tested], test[1][tested]),
    }
    for name, part in parts.items():
        _check_labels(name, part.labels, len(classes))
    return Dataset(kind, classes, parts["train"], parts["validation"], parts["test"], **meta)


def _subset(count: int, limit: int | None, generator: torch.Generator) -> Int[Tensor, " kept"]:
    """Indices of at most `limit` of `count` samples, drawn at random, in stored order."""
    if limit is None or limit >= count:
        return torch.arange(count)
    return torch.randperm(count, generator=generator)[:limit].sort().values


def _held_out(groups: Int[Tensor, " samples"], share: float, generator: torch.Generator) -> Bool[Tensor, " samples"]:
    """True for the samples of randomly drawn whole groups, which come to at least one sample and about `share`."""
    _, member, sizes = groups.unique(return_inverse=True, return_counts=True)
    order = torch.randperm(len(sizes), generator=generator)
    before = sizes[order].cumsum(0) - sizes[order]
    drawn = torch.zeros(len(sizes), dtype=torch.bool)
    drawn[order] = before < max(1, round(share * len(groups)))
    return drawn[member]


def _check_labels(name: str, labels: Int[Tensor, " samples"], classes: int) -> None:
    if len(labels) == 0:
        raise PruneryError(f"the {name} split is empty: raise the limits or give more data")
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= classes:
        raise PruneryError(
            f"the {name} split has labels from {low} to {high}, but there are {classes} classes (0 to {classes - 1}): "
            "mend the labels, or name every class"
        )
    if name == "train" and low == high:
        raise PruneryError(f"every training label is {low}: a classifier needs at least two classes")


def save_dataset(dataset: Dataset, path: Path) -> None:
    """Write a data set as one safetensors file, atomically."""
    tensors: dict[str, Tensor] = {}
    for name in SPLITS:
        split = dataset.split(name)
        tensors |= {f"{name}/inputs": split.inputs.contiguous(), f"{name}/labels": split.labels.contiguous()}
    facts = {name: value for name, value in vars(dataset).items() if name not in SPLITS}
    save_tensors(tensors, path, {"dataset": json.dumps(facts, sort_keys=True)})


def load_dataset(path: Path) -> Dataset:
    """Read what `save_dataset` wrote. Raises `PruneryError` if the file is damaged."""
    try:
        with safe_open(path, framework="pt") as file:
            facts = json.loads(file.metadata()["dataset"])
            splits: dict[str, Any] = {
                n: Split(file.get_tensor(f"{n}/inputs"), file.get_tensor(f"{n}/labels")) for n in SPLITS
            }
        lists: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in facts.items()
        }
        return Dataset(**lists, **splits)
    except (SafetensorError, KeyError, TypeError, ValueError, AttributeError, OSError) as error:
        raise PruneryError(f"{path} is not a readable data file ({error}): delete it and run again") from error
