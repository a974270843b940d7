"""The idx format against hand-made bytes; damaged files; the real sets."""

import gzip
import os
import struct
from pathlib import Path

import pytest
import torch

from prunery import PruneryError
from prunery.registry import registry

IMAGES = bytes(range(2 * 2 * 3))


def idx(shape: tuple[int, ...], values: bytes) -> bytes:
    return bytes([0, 0, 8, len(shape)]) + struct.pack(f">{len(shape)}I", *shape) + values


def write_set(folder: Path) -> None:
    """Two training and two test images of 2 by 3 pixels, each file spelled in another of the allowed ways."""
    (folder / "train-images-idx3-ubyte").write_bytes(idx((2, 2, 3), IMAGES))
    (folder / "train-labels.idx1-ubyte").write_bytes(idx((2,), bytes([0, 2])))
    (folder / "t10k-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx((2, 2, 3), IMAGES[::-1])))
    (folder / "t10k-labels.idx1-ubyte.gz").write_bytes(gzip.compress(idx((2,), bytes([1, 1]))))


def source(**settings):
    return registry().configured("data", "idx", settings)


def core():
    registry()
    from prunery_plugins.data.idx import core

    return core


def test_values_come_row_by_row(tmp_path) -> None:
    write_set(tmp_path)
    images, labels = core().read_samples(tmp_path / "train-images-idx3-ubyte", tmp_path / "train-labels.idx1-ubyte")
    assert images.tolist() == [[[[0, 1, 2], [3, 4, 5]]], [[[6, 7, 8], [9, 10, 11]]]]
    assert labels.tolist() == [0, 2]


def test_every_spelling_of_the_files_is_found(tmp_path) -> None:
    (tmp_path / "set").mkdir()
    write_set(tmp_path / "set")
    method = source(folder="set")
    assert [path.name for path in method.files(tmp_path)] == [
        "train-images-idx3-ubyte",
        "train-labels.idx1-ubyte",
        "t10k-images-idx3-ubyte.gz",
        "t10k-labels.idx1-ubyte.gz",
    ]
    method = source(folder=str(tmp_path / "set"), validation=0.5)
    with pytest.raises(PruneryError, match="every training label"):  # read, and then too small to be of use
        method.load(None)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "no idx file of bytes with 1 axes"),
        (b"\x89PNG1234", "no idx file .* starts with '89 50 4e 47'"),
        (idx((1, 1), b"\0"), "no idx file of bytes with 1 axes"),
        (idx((1,), b"")[:6], "cut off within its header"),
        (idx((3,), b"\0\1"), "holds 2 values where its header says 3"),
        (idx((3,), b"\0\1\2\3"), "holds 4 values where its header says 3"),
    ],
)
def test_damaged_files_are_named(tmp_path, content: bytes, words: str) -> None:
    path = tmp_path / "labels"
    path.write_bytes(content)
    with pytest.raises(PruneryError, match=f"{path} .*{words}|{path} is {words}"):
        core().read_idx(path, axes=1)


@pytest.mark.parametrize(
    "damage", [lambda data: data[:-9], lambda data: b"no" + data, lambda data: data[:20] + bytes(9) + data[29:]]
)
def test_damaged_gzip_is_named(tmp_path, damage) -> None:
    path = tmp_path / "labels.gz"
    path.write_bytes(damage(gzip.compress(idx((300,), os.urandom(300)))))
    with pytest.raises(PruneryError, match=r"labels\.gz is a damaged gzip file"):
        core().read_idx(path, axes=1)


def test_images_without_their_labels_are_refused(tmp_path) -> None:
    (tmp_path / "i").write_bytes(idx((2, 2, 3), IMAGES))
    (tmp_path / "l").write_bytes(idx((3,), bytes(3)))
    with pytest.raises(PruneryError, match=r"i holds 2 images, but .*l 3 labels"):
        core().read_samples(tmp_path / "i", tmp_path / "l")


def test_missing_files_are_named(tmp_path) -> None:
    with pytest.raises(PruneryError, match=r"'idx' wants train-images-idx3-ubyte or .*; looked in .*mnist: put it"):
        source().files(tmp_path)
    with pytest.raises(PruneryError, match="no data folder is set"):
        source().files(None)


@pytest.mark.data
@pytest.mark.skipif("PRUNERY_DATA" not in os.environ, reason="PRUNERY_DATA is not set")
@pytest.mark.parametrize(("name", "mean", "std"), [("mnist", 0.1307, 0.3081), ("fashion-mnist", 0.2860, 0.3530)])
def test_the_real_sets_have_their_published_statistics(name: str, mean: float, std: float) -> None:
    data = source(folder=name).load(Path(os.environ["PRUNERY_DATA"]))
    assert (len(data.train), len(data.validation), len(data.test)) == (54000, 6000, 10000)
    pixels = torch.cat([data.train.inputs, data.validation.inputs]).float() / 255
    assert pixels.mean().item() == pytest.approx(mean, abs=1e-4)
    assert pixels.std().item() == pytest.approx(std, abs=1e-4)
    assert len(data.classes) == 10
