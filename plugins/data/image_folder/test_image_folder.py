"""Folders of pictures: order, resizing, and what is wrong with them."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from prunery import PruneryError
from prunery.registry import registry


def source(**settings):
    return registry().configured("data", "image_folder", settings)


def picture(path: Path, grey: int, size: tuple[int, int] = (20, 10)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((*size, 3), grey, np.uint8)).save(path)


@pytest.fixture
def folder(tmp_path) -> Path:
    for number in range(4):
        picture(tmp_path / f"train/dog/{number}.png", 10 + number)
        picture(tmp_path / f"train/cat/deep/{number}.WEBP", 100 + number, (9, 30))
    picture(tmp_path / "val/dog/x.jpg", 200)
    (tmp_path / "train/dog/notes.txt").write_text("no picture")
    (tmp_path / "train/.hidden").mkdir()
    return tmp_path


def test_classes_are_sorted_and_every_picture_is_resized(folder) -> None:
    data = source(folder=str(folder), size=6).load(None)
    assert data.classes == ("cat", "dog")
    assert (len(data.train), len(data.validation)) == (7, 1)
    assert data.test.labels.tolist() == [1]
    assert data.spec.shape == (3, 6, 6)
    for image, label in zip(data.train.inputs, data.train.labels, strict=True):
        assert (image.float().mean() > 50) == (label == 0)
    assert (data.test.inputs.float() - 200).abs().max() <= 1


def test_gray_and_one_channel(folder) -> None:
    data = source(folder=str(folder), size=6, channels=1, mean=[0.2]).load(None)
    assert data.spec.shape == (1, 6, 6)
    assert data.mean == (0.2,)
    assert torch.equal(data.test.inputs.unique(), torch.tensor([200], dtype=torch.uint8))


def test_files_are_the_pictures_alone(folder) -> None:
    names = [path.name for path in source(folder=folder.name).files(folder.parent)]
    assert names == [f"{n}.WEBP" for n in range(4)] + [f"{n}.png" for n in range(4)] + ["x.jpg"]


def test_what_is_wrong_is_named(folder) -> None:
    method = source(folder=str(folder), size=6)
    (folder / "train/empty").mkdir()
    with pytest.raises(PruneryError, match=r"class folder .*train/empty holds no pictures"):
        method.files(None)
    (folder / "train/empty").rmdir()
    picture(folder / "val/bird/x.png", 0)
    with pytest.raises(PruneryError, match=r"val/bird is a class that .*train does not have"):
        method.files(None)
    (folder / "val/bird").rename(folder / "val/cat")
    (folder / "train/cat/deep/1.WEBP").write_bytes(b"RIFF")
    with pytest.raises(PruneryError, match=r"1\.WEBP is not a readable image"):
        method.load(None)


def test_missing_folders_are_named(tmp_path) -> None:
    with pytest.raises(
        PruneryError, match=r"wants the folders train/<class>/ and test/<class>/ .*; looked in .*images"
    ):
        source().files(tmp_path)
