"""The two kinds of CIFAR-10 files, read into the same tensors."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from prunery.errors import PruneryError
from prunery.images import read_label_arrays, read_sheets

from .plain_pickle import read_plain_pickle

TILE = 32
BATCH = 10_000
Samples = tuple[Tensor, Tensor]


def read_sheet_files(files: Sequence[Path], batches: Sequence[int]) -> tuple[Samples, Samples]:
    """Training and test samples from lossless sheets: `files` are test.webp, the training sheets and labels.npz."""
    test, *train, labels = files
    arrays = read_label_arrays(labels, {"train_y": 5 * BATCH, "test_y": BATCH})
    chosen = torch.cat([arrays["train_y"].split(BATCH)[number - 1] for number in batches])
    images = torch.cat([read_sheets([sheet], TILE, BATCH) for sheet in train])
    return (images, chosen), (read_sheets([test], TILE, BATCH), arrays["test_y"])


def read_published(files: Sequence[Path], batches: Sequence[int]) -> tuple[Samples, Samples]:
    """Training and test samples from the python version: `files` are test_batch and the data_batch files."""
    test, *train = (read_batch(path) for path in files)
    images, labels = zip(*train, strict=True)
    return (torch.cat(images), torch.cat(labels)), test


def read_batch(path: Path) -> Samples:
    """Images `uint8 [N, 3, 32, 32]` and labels of one published file: rows of 3,072 bytes, plane after plane.

    Raises `PruneryError` naming the file if it holds anything else.
    """
    batch: Any = read_plain_pickle(path)
    if not isinstance(batch, dict):
        raise PruneryError(f"{path} is no CIFAR-10 batch: it holds no dictionary")
    data, labels = (batch.get(key.encode(), batch.get(key)) for key in ("data", "labels"))
    if not isinstance(data, np.ndarray) or data.shape != (len(data), 3 * TILE**2):
        raise PruneryError(f"{path} is no CIFAR-10 batch: 'data' is no array of rows of {3 * TILE**2} bytes")
    if not isinstance(labels, list) or len(labels) != len(data) or not all(type(label) is int for label in labels):
        raise PruneryError(f"{path} is no CIFAR-10 batch: 'labels' is no list of {len(data)} integers")
    return torch.from_numpy(data.reshape(-1, 3, TILE, TILE)), torch.tensor(labels, dtype=torch.int64)
