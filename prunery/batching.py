"""Batches for many replicas, each with its own order of the data and its own augmentation."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from prunery.data import Dataset
from prunery.errors import PruneryError
from prunery.trainsettings import TrainingSettings

READY_BYTES = 256 * 2**20
"""Up to this size the training split is normalised once; above, batch by batch (the values are the same)."""


@dataclass(frozen=True)
class Batch:
    """Network inputs `[R, B, ...]`, labels `[R, B]`, and which samples of the training split they are `[R, B]`."""

    inputs: Tensor
    labels: Int[Tensor, "replicas batch"]
    samples: Int[Tensor, "replicas batch"]


def derived_seed(purpose: str, seed: int, offset: int) -> int:
    """A seed that depends on all three and on nothing else."""
    digest = hashlib.sha256(f"{purpose}/{seed}/{offset}".encode()).digest()
    return int.from_bytes(digest[:7])


class Batches:
    """The training split on the device, served to R replicas; what one replica gets never depends on the others."""

    def __init__(
        self, dataset: Dataset, settings: TrainingSettings, generators: Sequence[torch.Generator], device: torch.device
    ) -> None:
        if dataset.kind == "text" and (settings.crop_padding or settings.horizontal_flip):
            raise PruneryError(
                "settings 'crop_padding' and 'horizontal_flip' are for images, this data set holds texts: remove them"
            )
        self.dataset, self.settings, self.device = dataset, settings, device
        self.generators = list(generators)
        self.stored = dataset.train.inputs.to(device)
        self.labels = dataset.train.labels.to(device)
        self.augmented = bool(settings.crop_padding or settings.horizontal_flip)
        small = self.stored.numel() * (8 if dataset.kind == "text" else 4) <= READY_BYTES
        self.ready = dataset.network_inputs(self.stored) if small and not self.augmented else None
        self.sizes = batch_sizes(len(self.labels), settings.batch_size, settings.drop_last)

    def keep(self, rows: Sequence[int]) -> None:
        """Go on with these replicas only."""
        self.generators = [self.generators[row] for row in rows]

    def epoch(self) -> Iterator[Batch]:
        """One pass: each replica draws its order, then its augmentation, from its own generator."""
        samples = len(self.labels)
        order = self._draw(lambda generator: torch.randperm(samples, generator=generator))
        shifts = self._draw(lambda generator: self._shifts(samples, generator)) if self.augmented else None
        start = 0
        for size in self.sizes:
            part = slice(start, start + size)
            index = order[:, part]
            moves = None if shifts is None else shifts[:, part]
            labels = self.labels.index_select(0, index.flatten()).unflatten(0, index.shape)
            yield Batch(self._inputs(index, moves), labels, index)
            start += size

    def _draw(self, draw: Callable[[torch.Generator], Tensor]) -> Int[Tensor, "replicas samples ..."]:
        return torch.stack([draw(generator) for generator in self.generators]).to(self.device)

    def _shifts(self, samples: int, generator: torch.Generator) -> Int[Tensor, "samples 3"]:
        """Rows down, columns right (0 to twice the padding) and mirrored or not, of each sample."""
        reach = 2 * self.settings.crop_padding + 1
        moved = torch.randint(reach, (samples, 2), generator=generator)
        mirrored = torch.randint(1 + self.settings.horizontal_flip, (samples, 1), generator=generator)
        return torch.cat([moved, mirrored], dim=1)

    def _inputs(self, index: Int[Tensor, "replicas batch"], moves: Tensor | None) -> Tensor:
        source = self.stored if self.ready is None else self.ready
        chosen = source.index_select(0, index.flatten())
        if moves is not None:
            down, right, mirrored = moves.flatten(0, 1).unbind(1)
            chosen = crop_and_flip(chosen, self.settings.crop_padding, down, right, mirrored.bool())
        if self.ready is None:
            chosen = self.dataset.network_inputs(chosen)
        return chosen.unflatten(0, index.shape)


def batch_sizes(samples: int, size: int, drop_last: bool) -> list[int]:
    """The sizes of an epoch's batches. A lone last sample is left out: batch norm cannot train on one."""
    sizes = [size] * (samples // size)
    rest = samples % size
    if not sizes or (rest > 1 and not drop_last):
        sizes.append(rest)
    return sizes


def crop_and_flip(
    images: Float[Tensor, "batch channels h w"],
    padding: int,
    down: Int[Tensor, " batch"],
    right: Int[Tensor, " batch"],
    mirrored: Bool[Tensor, " batch"],
) -> Float[Tensor, "batch channels h w"]:
    """Pad with zeros, cut a window of the old size whose corner is at (down, right), mirror it where asked."""
    _, _, height, width = images.shape
    padded = F.pad(images, (padding,) * 4).permute(0, 2, 3, 1)
    columns = torch.arange(width, device=images.device).expand(len(images), width)
    columns = right[:, None] + torch.where(mirrored[:, None], width - 1 - columns, columns)
    rows = down[:, None] + torch.arange(height, device=images.device)
    sample = torch.arange(len(images), device=images.device)
    window = padded[sample[:, None, None], rows[:, :, None], columns[:, None, :]]
    return window.permute(0, 3, 1, 2)
