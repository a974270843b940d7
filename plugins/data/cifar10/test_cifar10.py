"""Both kinds of files give the same tensors; hostile and damaged pickles run nothing."""

import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from prunery import PruneryError
from prunery.registry import registry


def source(**settings):
    return registry().configured("data", "cifar10", settings)


def cifar():
    registry()
    from prunery_plugins.data.cifar10 import core, plain_pickle

    return core, plain_pickle


def published(path: Path, data: object, labels: object, protocol: int = 4) -> None:
    """Write a batch with the authors' keys, byte strings."""
    batch = {b"batch_label": b"a batch", b"labels": labels, b"data": data, b"filenames": [b"a.png"]}
    path.write_bytes(pickle.dumps(batch, protocol))


def rows(count: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, 3072), np.uint8)


@pytest.mark.parametrize("protocol", [3, 4])
def test_a_published_batch_is_read_plane_after_plane(tmp_path, protocol: int) -> None:
    data = rows(5)
    published(tmp_path / "data_batch_1", data, [3, 0, 9, 1, 1], protocol)
    images, labels = cifar()[0].read_batch(tmp_path / "data_batch_1")
    assert labels.tolist() == [3, 0, 9, 1, 1]
    assert images.shape == (5, 3, 32, 32)
    for image, row in zip(images, data, strict=True):  # red, green, blue; each row by row
        assert torch.equal(image[1, 2], torch.from_numpy(row[1024 + 64 : 1024 + 96]))


def test_a_batch_written_by_python_2_is_read(tmp_path) -> None:
    """Python 2 wrote texts and array bytes as plain strings (opcode U), numpy as numpy.core."""
    body = (
        b"\x80\x02}(U\x06labels]K\x07aU\x04datacnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\nK\x00\x85U\x01bt"
        b"R(K\x01K\x01M\x00\x0c\x86cnumpy\ndtype\n(U\x02u1K\x00K\x01tR(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK"
        b"\x00tb\x89T\x00\x0c\x00\x00" + bytes(range(256)) * 12 + b"tbu."
    )
    (tmp_path / "b").write_bytes(body)
    images, labels = cifar()[0].read_batch(tmp_path / "b")
    assert labels.tolist() == [7]
    assert images.flatten().tolist() == list(range(256)) * 12


class Hostile:
    def __reduce__(self):
        return os.mkdir, ("harm",)


@pytest.mark.parametrize(
    "content",
    [
        Hostile(),
        {b"data": Hostile()},
        {Hostile: 1},
        np.array([Hostile()], object),
        np.arange(3.0),
        {1, 2},
        np.random.default_rng(0),
    ],
)
def test_whatever_is_not_plain_data_is_refused_and_not_run(tmp_path, monkeypatch, content: object) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "b").write_bytes(pickle.dumps(content, 2))
    with pytest.raises(PruneryError, match=r"b is refused: only plain data with byte arrays is read from it \("):
        cifar()[1].read_plain_pickle(tmp_path / "b")
    assert not (tmp_path / "harm").exists()


def test_damaged_and_endless_pickles_are_refused(tmp_path) -> None:
    published(tmp_path / "b", rows(2), [0, 1])
    whole = (tmp_path / "b").read_bytes()
    endless: list[object] = []
    endless.append(endless)
    for damaged in (b"", whole[:-1], whole[:1000], whole[50:], b"\x80\x02c__builtin__\neval\n.", pickle.dumps(endless)):
        (tmp_path / "b").write_bytes(damaged)
        with pytest.raises(PruneryError, match="b is refused"):
            cifar()[1].read_plain_pickle(tmp_path / "b")


@pytest.mark.parametrize(
    ("data", "labels", "words"),
    [
        (rows(2)[:, :10], [0, 1], "no array of rows of 3072 bytes"),
        (None, [0, 1], "no array of rows of 3072 bytes"),
        (rows(2), [0], "no list of 2 integers"),
        (rows(2), [0, b"1"], "no list of 2 integers"),
    ],
)
def test_plain_data_of_another_kind_is_refused(tmp_path, data: object, labels: object, words: str) -> None:
    published(tmp_path / "b", data, labels)
    with pytest.raises(PruneryError, match=words):
        cifar()[0].read_batch(tmp_path / "b")


def sheet(data: np.ndarray, path: Path) -> None:
    """Twenty images in two rows of ten tiles."""
    tiles = data.reshape(2, 10, 3, 32, 32).transpose(0, 3, 1, 4, 2).reshape(64, 320, 3)
    Image.fromarray(tiles).save(path, lossless=True)


def test_sheets_and_published_files_give_the_same_data(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(cifar()[0], "BATCH", 20)
    data, labels = rows(120), np.random.default_rng(1).integers(0, 10, 120, np.uint8)
    plain, sheets = tmp_path / "plain" / "cifar-10-batches-py", tmp_path / "sheets"
    plain.mkdir(parents=True)
    sheets.mkdir()
    np.savez(sheets / "labels.npz", train_y=labels[:100], test_y=labels[100:])
    for number in range(6):
        own = slice(20 * number, 20 * number + 20)
        sheet(data[own], sheets / (f"train_{number + 1}.webp" if number < 5 else "test.webp"))
        published(plain / (f"data_batch_{number + 1}" if number < 5 else "test_batch"), data[own], labels[own].tolist())
    one, two = (source(folder=name, batches=[2, 5]).load(tmp_path) for name in ("plain", "sheets"))
    for split in ("train", "validation", "test"):
        assert torch.equal(one.split(split).inputs, two.split(split).inputs)
        assert torch.equal(one.split(split).labels, two.split(split).labels)
    assert (len(one.train), len(one.validation), len(one.test)) == (36, 4, 20)
    assert torch.equal(one.test.inputs.flatten(1), torch.from_numpy(data[100:]))
    assert one.mean == (0.5, 0.5, 0.5)


def test_missing_files_are_named(tmp_path) -> None:
    with pytest.raises(
        PruneryError, match=r"wants the sheets .* or the unpacked cifar-10-batches-py .*; looked in .*cifar10"
    ):
        source().files(tmp_path)
    (tmp_path / "cifar10").mkdir()
    (tmp_path / "cifar10" / "test_batch").touch()
    with pytest.raises(PruneryError, match="wants data_batch_1, data_batch_3; looked in"):
        source(batches=[1, 3]).files(tmp_path)
    with pytest.raises(PruneryError, match="named twice"):
        source(batches=[1, 1])


@pytest.mark.data
@pytest.mark.skipif("PRUNERY_DATA" not in os.environ, reason="PRUNERY_DATA is not set")
def test_the_real_set_has_its_published_statistics() -> None:
    data = source().load(Path(os.environ["PRUNERY_DATA"]))
    assert (len(data.train), len(data.validation), len(data.test)) == (45000, 5000, 10000)
    pixels = torch.cat([data.train.inputs, data.validation.inputs]).float() / 255
    assert pixels.mean((0, 2, 3)).tolist() == pytest.approx([0.4914, 0.4822, 0.4465], abs=1e-4)
    assert data.test.labels.bincount().tolist() == [1000] * 10
