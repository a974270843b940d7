"""Picture files as samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from jaxtyping import Int, UInt8
from torch import Tensor

from prunery.datasettings import PhotoSettings
from prunery.images import open_image, photos


def samples(
    pictures: Mapping[str, Sequence[Path]], classes: Sequence[str], settings: PhotoSettings
) -> tuple[UInt8[Tensor, "samples channels size size"], Int[Tensor, " samples"]]:
    """The pictures of each class, in the given order, and the places of their classes in `classes`.

    Raises `PruneryError` naming a picture that cannot be read.
    """
    paths = [path for paths in pictures.values() for path in paths]
    labels = [classes.index(name) for name, own in pictures.items() for _ in own]
    return photos(map(open_image, paths), len(paths), settings), torch.tensor(labels, dtype=torch.int64)
