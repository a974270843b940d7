"""Reading the digits without importing scikit-learn, which takes seconds."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Int, UInt8
from torch import Tensor

from prunery.errors import PruneryError

DARKEST = 16
TEST_SEED = 0


def installed_csv() -> Path:
    """The file that scikit-learn brings along. Raises `PruneryError` if it is not there."""
    found = importlib.util.find_spec("sklearn")
    if found is None or found.origin is None:
        raise PruneryError("data source 'digits' reads a file of scikit-learn: install scikit-learn")
    path = Path(found.origin).parent / "datasets" / "data" / "digits.csv.gz"
    if not path.is_file():
        raise PruneryError(f"data source 'digits' wants {path}: install a scikit-learn that brings it along")
    return path


def read_digits(path: Path) -> tuple[UInt8[Tensor, "samples 1 8 8"], Int[Tensor, " samples"]]:
    """Images with the file's 0..16 spread over 0..255, and labels; rows are 64 pixels and the digit."""
    table = torch.from_numpy(np.loadtxt(path, delimiter=","))
    pixels = (table[:, :-1] * 255 / DARKEST).round().to(torch.uint8)
    return pixels.reshape(-1, 1, 8, 8), table[:, -1].long()


def enlarged(images: UInt8[Tensor, "samples 1 h w"], factor: int) -> UInt8[Tensor, "samples 1 H W"]:
    """Every pixel as a square of `factor` by `factor` equal ones."""
    return images.repeat_interleave(factor, dim=-1).repeat_interleave(factor, dim=-2)


def divide(images: Tensor, labels: Tensor, share: float) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Training and test samples, each in stored order; `share` of them, drawn at random, are the test split."""
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(TEST_SEED))
    count = max(1, round(share * len(labels)))
    test, train = order[:count].sort().values, order[count:].sort().values
    return (images[train], labels[train]), (images[test], labels[test])
