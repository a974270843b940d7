"""The idx format: two zero bytes, a type, the number of axes, big-endian lengths, then the values."""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Int, UInt8
from torch import Tensor

from prunery.errors import PruneryError

UNSIGNED_BYTE = 0x08


def read_samples(images: Path, labels: Path) -> tuple[UInt8[Tensor, "samples 1 height width"], Int[Tensor, " samples"]]:
    """Images and their labels. Raises `PruneryError` if a file is damaged or the two do not belong together."""
    pixels, numbers = read_idx(images, axes=3), read_idx(labels, axes=1)
    if len(pixels) != len(numbers):
        raise PruneryError(f"{images} holds {len(pixels)} images, but {labels} {len(numbers)} labels: fetch both again")
    if not len(numbers):
        raise PruneryError(f"{labels} holds no labels")
    return pixels.unsqueeze(1), numbers.long()


def read_idx(path: Path, axes: int) -> UInt8[Tensor, "..."]:
    """The array of unsigned bytes with `axes` axes in an idx file, packed (`.gz`) or not.

    Raises `PruneryError` naming the file if it is not such a file, or shorter or longer than its header says.
    """
    data = _content(path)
    start = 4 + 4 * axes
    if data[:4] != bytes([0, 0, UNSIGNED_BYTE, axes]):
        found = f"it starts with {data[:4].hex(' ')!r}"
        raise PruneryError(f"{path} is no idx file of bytes with {axes} axes ({found}): fetch it again")
    if len(data) < start:
        raise PruneryError(f"{path} is cut off within its header: fetch it again")
    shape = struct.unpack(f">{axes}I", data[4:start])
    values = np.frombuffer(data, np.uint8, offset=start)
    if len(values) != math.prod(shape):
        raise PruneryError(
            f"{path} holds {len(values)} values where its header says {math.prod(shape)}: fetch it again"
        )
    return torch.from_numpy(values.reshape(shape).copy())


def _content(path: Path) -> bytes:
    data = path.read_bytes()
    if path.suffix != ".gz":
        return data
    try:
        return gzip.decompress(data)
    except (OSError, EOFError, zlib.error) as error:
        raise PruneryError(f"{path} is a damaged gzip file ({error}): fetch it again") from error
