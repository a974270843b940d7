"""Sheets with their labels; missing parts; the real sets."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from prunery import PruneryError
from prunery.registry import registry


def source(**settings):
    return registry().configured("data", "sheets", settings)


def write_set(folder: Path) -> np.ndarray:
    """Fourteen training tiles on eleven sheets (the last with padding) and two of validation, 2 by 2 pixels."""
    folder.mkdir(exist_ok=True)
    tiles = np.random.default_rng(0).integers(0, 256, (24, 2, 2, 3), np.uint8)
    for number in range(11):
        pair = tiles[2 * number : 2 * number + 2]
        Image.fromarray(pair.transpose(1, 0, 2, 3).reshape(2, 4, 3)).save(folder / f"train_{number + 1}.png")
    Image.fromarray(tiles[22:].transpose(1, 0, 2, 3).reshape(2, 4, 3)).save(folder / "val.png")
    np.savez(folder / "labels.npz", train_y=np.arange(21) % 3, val_y=np.array([0, 2]))
    return tiles


def test_sheets_are_read_by_number_and_val_is_the_test_split(tmp_path) -> None:
    tiles = torch.from_numpy(write_set(tmp_path / "set")).permute(0, 3, 1, 2)
    data = source(folder="set", tile=2, classes=["x", "y", "z"]).load(tmp_path)
    assert torch.equal(data.test.inputs, tiles[22:])
    assert data.test.labels.tolist() == [0, 2]
    for image, label in zip(data.train.inputs, data.train.labels, strict=True):
        place = (tiles == image).flatten(1).all(1).nonzero().item()  # train_10 comes after train_9, not after train_1
        assert label == place % 3
    assert data.classes == ("x", "y", "z")


def test_missing_parts_are_named(tmp_path) -> None:
    method = source(folder="set", tile=2)
    with pytest.raises(PruneryError, match=r"wants labels\.npz; looked in .*set"):
        method.files(tmp_path)
    write_set(tmp_path / "set")
    assert len(method.files(tmp_path)) == 13
    (tmp_path / "set" / "val.png").unlink()
    with pytest.raises(PruneryError, match=r"wants test\.webp \(or test_1\.webp"):
        method.files(tmp_path)


@pytest.mark.data
@pytest.mark.skipif("PRUNERY_DATA" not in os.environ, reason="PRUNERY_DATA is not set")
@pytest.mark.parametrize(
    ("name", "tile", "sizes", "classes"),
    [("cifar100-subset", 32, (4500, 500, 1000), 100), ("hymenoptera", 128, (220, 24, 153), 2)],
)
def test_the_real_sets_load(name: str, tile: int, sizes: tuple[int, ...], classes: int) -> None:
    data = source(folder=name, tile=tile).load(Path(os.environ["PRUNERY_DATA"]))
    assert (len(data.train), len(data.validation), len(data.test)) == sizes
    assert len(data.classes) == classes
    assert data.spec.shape == (3, tile, tile)
