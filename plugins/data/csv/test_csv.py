"""Columns, labels and damage of csv files; the real sets."""

import gzip
import json
import os
from pathlib import Path

import pytest
from prunery_plugins.data.csv.core import class_names

from prunery import PruneryError
from prunery.registry import registry


def source(**settings):
    return registry().configured("data", "csv", settings)


def write(folder: Path, train: str, test: str = "text,label\ncat,1\n", labels: object = None) -> None:
    (folder / "train.csv.gz").write_bytes(gzip.compress(train.encode()))
    (folder / "test.csv").write_text(test)
    if labels is not None:
        (folder / "labels.json").write_text(json.dumps(labels))


def load(folder: Path, **settings):
    return source(folder=str(folder), length=4, validation=0.25, **settings).load(None)


TRAIN = 'id,label,text\n7,0,"cat, ""dog"""\n8,1,"two\nlines"\n9,0,\n10,1,dog\n'


def test_columns_are_found_by_name_and_quotes_are_read(tmp_path) -> None:
    write(tmp_path, TRAIN, labels=["no", "yes"])
    data = load(tmp_path)
    assert data.classes == ("no", "yes")
    rows = [*data.train.inputs, *data.validation.inputs]
    words = {tuple(data.vocabulary[i] for i in row if i) for row in rows}
    assert words == {("[CLS]", "cat", ",", '"'), ("[CLS]", "two", "lines"), ("[CLS]",), ("[CLS]", "dog")}
    assert data.test.labels.tolist() == [1]
    assert [path.name for path in source(folder=str(tmp_path)).files(None)] == [
        "train.csv.gz",
        "test.csv",
        "labels.json",
    ]


def test_labels_may_be_names_and_columns_may_be_chosen(tmp_path) -> None:
    write(tmp_path, "a,b\nx,yes\ny,no\nz,yes\nw,no\n", "b,a\nno,x\n")
    data = load(tmp_path, text_column="a", label_column="b")
    assert data.classes == ("no", "yes")
    assert data.test.labels.tolist() == [0]


def test_without_names_numbers_are_the_classes(tmp_path) -> None:
    write(tmp_path, "text,label\na,0\nb,2\nc,1\nd,2\n")
    assert load(tmp_path).classes == ("0", "1", "2")


@pytest.mark.parametrize(
    ("train", "words"),
    [
        ("text,lable\na,0\n", r"train\.csv\.gz: unknown column 'label': did you mean 'lable'\?"),
        ("", r"unknown column 'text': known are none"),
        ("text,label\na,0\nb,1,extra\n", r"train\.csv\.gz, line 3: 3 fields where the header has 2"),
        ("text,label\na\n", r"line 2: 1 fields where the header has 2"),
        ('text,label\n"a,0\n', r"is not a readable csv file \(unexpected end of data\)"),
        (
            "text,label\na,0\nb,2\n",
            r"train\.csv\.gz, line 3: the label '2' is not one of the classes \(0 to 1 or a name",
        ),
        ("text,label\na,-1\n", r"line 2: the label '-1' is not one of the classes"),
    ],
)
def test_malformed_tables_are_named_with_the_line(tmp_path, train: str, words: str) -> None:
    write(tmp_path, train, labels=["no", "yes"])
    with pytest.raises(PruneryError, match=words):
        load(tmp_path)


@pytest.mark.parametrize(
    "content",
    [b"no gzip", gzip.compress(b"text,label\na,0\n" * 99)[:-9], gzip.compress(b"\xff\xfe")],
    ids=["no gzip", "cut off", "no text"],
)
def test_damaged_files_are_named(tmp_path, content: bytes) -> None:
    write(tmp_path, TRAIN)
    (tmp_path / "train.csv.gz").write_bytes(content)
    with pytest.raises(PruneryError, match=r"train\.csv\.gz is not a readable csv file"):
        load(tmp_path)


@pytest.mark.parametrize(("labels", "words"), [({"a": 1}, "must hold a list of names"), ([1, 2], "must hold a list")])
def test_odd_label_files_are_named(tmp_path, labels: object, words: str) -> None:
    write(tmp_path, TRAIN, labels=labels)
    with pytest.raises(PruneryError, match=rf"labels\.json {words}"):
        load(tmp_path)
    (tmp_path / "labels.json").write_text("[")
    with pytest.raises(PruneryError, match=r"labels\.json is not readable JSON"):
        load(tmp_path)


def test_long_texts_are_no_error(tmp_path) -> None:
    write(tmp_path, f"text,label\n{'a ' * 100_000},0\nb,1\nc,1\nd,0\n")
    assert len(load(tmp_path).train) == 3


def test_missing_files_are_named(tmp_path) -> None:
    with pytest.raises(
        PruneryError, match=r"wants train\.csv\.gz or train\.csv, test\.csv\.gz or test\.csv; looked in"
    ):
        source(folder=str(tmp_path)).files(None)


@pytest.mark.data
@pytest.mark.skipif("PRUNERY_DATA" not in os.environ, reason="PRUNERY_DATA is not set")
@pytest.mark.parametrize(
    ("name", "train", "test", "classes"),
    [
        ("newsgroup", 11293, 7527, 20),
        ("imdb", 7980, 3993, 2),
        ("agnews", 4000, 7600, 4),
        ("dbpedia", 5599, 2001, 14),
        ("yelp", 4001, 999, 5),
        ("amazon", 5000, 3000, 5),
        ("yahoo", 4000, 418, 2),
        ("arxiv", 1677, 499, 6),
        ("patent", 871, 288, 15),
        ("mag-fields", 10498, 3000, 7),
    ],
)
def test_the_real_sets_load(name: str, train: int, test: int, classes: int) -> None:
    data = source(folder=name).load(Path(os.environ["PRUNERY_DATA"]))
    assert len(data.train) + len(data.validation) == train
    assert (len(data.test), len(data.classes)) == (test, classes)
    assert data.train.labels.unique().tolist() == list(range(classes))


def test_numbers_with_a_gap_are_refused_without_making_a_class_of_each(tmp_path):
    with pytest.raises(PruneryError, match="labels reach 1000000000, but only 2 different ones occur"):
        class_names(tmp_path / "labels.json", ["0", "1000000000"])
    assert class_names(tmp_path / "labels.json", ["1", "0", "2", "0"]) == ("0", "1", "2")
