"""The datasets library on folders made here; nothing is fetched."""

import json
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

from prunery import PruneryError
from prunery.registry import registry

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # of the datasets library and what it imports
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]


def source(**settings):
    return registry().configured("data", "hf", settings)


def write_csv(folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    for name, count in (("train", 20), ("test", 4)):
        rows = [f"word{i % 3} text,{'ab'[i % 2]}" for i in range(count)]
        (folder / f"{name}.csv").write_text("\n".join(["text,label", *rows]))


def test_a_folder_of_csv_files(tmp_path) -> None:
    write_csv(tmp_path / "set")
    method = source(name="set", length=4)
    assert [path.name for path in method.files(tmp_path)] == ["test.csv", "train.csv"]
    data = method.load(tmp_path)
    assert data.classes == ("a", "b")
    assert (len(data.train), len(data.validation), len(data.test)) == (18, 2, 4)
    assert data.test.labels.tolist() == [0, 1, 0, 1]
    assert [data.vocabulary[i] for i in data.test.inputs[1]] == ["[CLS]", "word1", "text", "[PAD]"]


def test_a_changed_file_is_read_anew_and_slices_work(tmp_path) -> None:
    write_csv(tmp_path)
    method = source(name=str(tmp_path), train_split="train[:50%]")
    assert len(method.load(None).train) == 9
    lines = (tmp_path / "train.csv").read_text().splitlines()
    (tmp_path / "train.csv").write_text("\n".join(lines[:11]))
    assert len(method.load(None).train) == 4


def test_json_with_integer_labels_and_other_columns(tmp_path) -> None:
    for name in ("train", "test"):
        rows = [json.dumps({"body": f"text {i}", "stars": i % 3}) for i in range(9)]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(rows))
    data = source(name=str(tmp_path), column="body", label_column="stars").load(None)
    assert data.classes == ("0", "1", "2")
    assert data.test.labels.tolist() == [0, 1, 2] * 3


def test_images_saved_to_disk_with_named_labels(tmp_path) -> None:
    import datasets
    from PIL import Image

    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=["no", "yes"])})
    pictures = [Image.fromarray(np.full((12, 20, 3), 20 * i, np.uint8)) for i in range(10)]
    part = datasets.Dataset.from_dict({"image": pictures, "label": [i % 2 for i in range(10)]}, features)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        datasets.DatasetDict({"train": part, "test": part}).save_to_disk(tmp_path / "saved")
    data = source(name="saved", kind="image", size=4).load(tmp_path)
    assert data.classes == ("no", "yes")
    assert data.spec.shape == (3, 4, 4)
    assert torch.equal(data.test.inputs[:, 0, 0, 0], torch.arange(0, 200, 20, dtype=torch.uint8))
    with pytest.raises(PruneryError, match="unknown split 'tets': did you mean 'test'"):
        source(name="saved", kind="image", test_split="tets").load(tmp_path)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"label_column": "lable"}, "unknown column 'lable': did you mean 'label'"),
        ({"column": "label", "label_column": "text"}, "label 'word2 text' does not occur|labels"),
        ({"test_split": "nope"}, 'Unknown split "nope"'),
        ({"kind": "image", "column": "text"}, "an image is a str: choose a column of images"),
    ],
)
def test_mistakes_are_one_line(tmp_path, settings: dict, words: str) -> None:
    write_csv(tmp_path)
    (tmp_path / "train.csv").write_text("text,label\nword0 text,a\nword1 text,b\n")
    with pytest.raises(PruneryError, match=words) as caught:
        source(name=str(tmp_path), **settings).load(None)
    assert "\n" not in str(caught.value)


def test_an_unreachable_hub_is_one_line(monkeypatch) -> None:
    import datasets

    def unreachable(*args, **kwargs):
        raise ConnectionError("no route\nto host")

    monkeypatch.setattr(datasets, "load_dataset", unreachable)
    with pytest.raises(PruneryError, match="cannot reach the hub for 'some/set'") as caught:
        source(name="some/set").load(None)
    assert "\n" not in str(caught.value)
    assert source(name="some/set").files(None) == []


def test_missing_and_empty_folders_are_named(tmp_path) -> None:
    with pytest.raises(PruneryError, match="wants a folder; there is none at /nowhere"):
        source(name="/nowhere").files(None)
    with pytest.raises(PruneryError, match="wants data files; looked in"):
        source(name=str(tmp_path)).files(None)
