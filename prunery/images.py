"""Image files as uint8 tensors: single pictures of any size, and sheets of equal tiles."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Int, UInt8
from torch import Tensor

from prunery.datasettings import ImageSettings, PhotoSettings
from prunery.errors import PruneryError

if TYPE_CHECKING:
    from PIL.Image import Image


def normalisation(settings: ImageSettings, channels: int) -> dict[str, Any]:
    """`mean` and `std` with one value for each channel. Raises `PruneryError` if the settings hold another number."""
    both = {"mean": settings.mean, "std": settings.std}
    for name, values in both.items():
        if len(values) not in (1, channels):
            raise PruneryError(f"setting {name} has {len(values)} values, but the images have {channels} channel(s)")
    return {name: values if len(values) == channels else values * channels for name, values in both.items()}


def open_image(path: Path) -> Image:
    """A decoded image. Raises `PruneryError` naming the file if it cannot be read."""
    from PIL import Image

    try:
        with Image.open(path) as image:
            image.load()
            return image
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:  # Pillow's ways to say no
        raise PruneryError(f"{path} is not a readable image ({error}): repair or remove it") from error


def square(image: Image, settings: PhotoSettings) -> UInt8[Tensor, "channels size size"]:
    """An image turned upright, made square and resized (bicubic; Pillow's filter widens with the scale)."""
    from PIL import Image, ImageOps

    size = (settings.size, settings.size)
    upright = ImageOps.exif_transpose(image).convert("L" if settings.channels == 1 else "RGB")
    if settings.fit == "crop":
        return _channels_first(ImageOps.fit(upright, size, Image.Resampling.BICUBIC))
    return _channels_first(upright.resize(size, Image.Resampling.BICUBIC))


def photos(images: Iterable[Image], count: int, settings: PhotoSettings) -> UInt8[Tensor, "count channels size size"]:
    """`count` images as one tensor; only one is held decoded at a time."""
    table = torch.empty(count, settings.channels, settings.size, settings.size, dtype=torch.uint8)
    for place, image in zip(table, images, strict=True):
        place.copy_(square(image, settings))
    return table


def read_sheets(paths: Sequence[Path], tile: int, count: int) -> UInt8[Tensor, "count channels tile tile"]:
    """The first `count` tiles of some sheets, in order.

    A sheet is one picture holding a grid of square tiles of `tile` pixels, row by row; the last row of the last sheet
    may be padded. Raises `PruneryError` naming the sheet when its size or the number of tiles does not fit.
    """
    parts: list[Tensor] = []
    for path in paths:
        parts.append(_cut(open_image(path), tile, path))
    tiles = sum(map(len, parts))
    if tiles < count or (parts and tiles - count >= len(parts[-1])):
        names = ", ".join(path.name for path in paths)
        held = f"{tiles} tiles of {tile} pixels for {count} labels"
        raise PruneryError(f"{names} in {paths[0].parent} hold {held}: set tile to their size")
    return torch.cat(parts)[:count]


def _cut(sheet: Image, tile: int, path: Path) -> UInt8[Tensor, "tiles channels tile tile"]:
    if sheet.width % tile or sheet.height % tile:
        raise PruneryError(
            f"{path} has {sheet.width} x {sheet.height} pixels: no grid of {tile}-pixel tiles: set tile to their size"
        )
    whole = _channels_first(sheet if sheet.mode == "L" else sheet.convert("RGB"))
    grid = whole.unfold(1, tile, tile).unfold(2, tile, tile)  # [C, rows, columns, tile, tile]
    return grid.permute(1, 2, 0, 3, 4).reshape(-1, len(whole), tile, tile)


def _channels_first(image: Image) -> UInt8[Tensor, "channels height width"]:
    pixels = torch.from_numpy(np.array(image))
    return pixels.unsqueeze(0) if pixels.ndim == 2 else pixels.permute(2, 0, 1)


def read_label_arrays(path: Path, counts: Mapping[str, int | None]) -> dict[str, Int[Tensor, " samples"]]:
    """The arrays of labels named in `counts`, of that many labels each (None: any number), from an npz file.

    Nothing in the file is executed. Raises `PruneryError` naming the file if it is damaged or an array does not fit.
    """
    found: dict[str, Tensor] = {}
    try:
        if not zipfile.is_zipfile(path):
            raise ValueError("it is no npz file")
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            for name, count in counts.items():
                values = arrays[name]
                if values.ndim != 1 or values.dtype.kind not in "iu" or count not in (None, len(values)):
                    raise ValueError(f"{name} is no row of {count or 'some'} integers")
                found[name] = torch.from_numpy(values.astype(np.int64))
    except Exception as error:  # a damaged archive may fail in any way
        raise PruneryError(f"{path} is not a readable file of labels ({error}): fetch it again") from error
    return found
