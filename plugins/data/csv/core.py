"""Tables of texts and labels, read strictly."""

from __future__ import annotations

import csv
import gzip
import json
import sys
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import torch
from jaxtyping import Int
from torch import Tensor

from prunery.errors import PruneryError, unknown


@dataclass(frozen=True)
class Table:
    """Two columns of a file: texts and labels as written; `lines` are the lines that the rows end on."""

    path: Path
    texts: list[str]
    labels: list[str]
    lines: list[int]


def read_columns(path: Path, text_column: str, label_column: str) -> Table:
    """The two columns of a csv file (UTF-8, `.gz` or not) whose first row names the columns.

    Raises `PruneryError` naming the file, and the line if there is one, when a column is missing, a row has another
    number of fields than the header, there is no row, or the file is damaged.
    """
    csv.field_size_limit(sys.maxsize)  # texts may be longer than the 128 KiB that Python allows by default
    table = Table(path, [], [], [])
    with _opened(path) as file:
        rows = csv.reader(file, strict=True)
        header = next(rows, [])
        for column in (text_column, label_column):
            if column not in header:
                raise PruneryError(f"{path}: {unknown('column', column, header)}")
        text, label = header.index(text_column), header.index(label_column)
        for row in rows:
            if len(row) != len(header):
                counts = f"{len(row)} fields where the header has {len(header)}"
                raise PruneryError(f"{path}, line {rows.line_num}: {counts}: quote what holds a comma or a line's end")
            table.texts.append(row[text])
            table.labels.append(row[label])
            table.lines.append(rows.line_num)
    if not table.labels:
        raise PruneryError(f"{path} holds no rows below its header: fetch it again")
    return table


@contextmanager
def _opened(path: Path) -> Iterator[TextIO]:
    try:
        opener = gzip.open if path.suffix == ".gz" else open
        with opener(path, "rt", encoding="utf-8", newline="") as file:
            yield file  # type: ignore[misc]
    except (OSError, EOFError, zlib.error, UnicodeDecodeError, csv.Error) as error:
        raise PruneryError(f"{path} is not a readable csv file ({error}): repair it or fetch it again") from error


def class_names(path: Path, labels: Sequence[str]) -> tuple[str, ...]:
    """The names in `labels.json`; without it the numbers 0 to the largest label, or the distinct names, sorted."""
    if not path.is_file():
        distinct = set(labels)
        if all(label.isdecimal() for label in distinct):
            return _counted(path, sorted(map(int, distinct)))
        return tuple(sorted(distinct))
    try:
        names = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise PruneryError(f"{path} is not readable JSON ({error}): write a list of names") from error
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise PruneryError(f"{path} must hold a list of names, one for each label")
    return tuple(names)


def _counted(path: Path, numbers: list[int]) -> tuple[str, ...]:
    """The numbers 0 to the largest, none missing: a gap is a slip more often than a class without a sample."""
    if numbers and numbers[-1] >= len(numbers):
        found = f"labels reach {numbers[-1]}, but only {len(numbers)} different ones occur"
        raise PruneryError(f"{found}: number them from 0, or name the classes in {path}")
    return tuple(map(str, numbers))


def numbered(table: Table, classes: Sequence[str]) -> Int[Tensor, " rows"]:
    """Each label's place in `classes`; it is written as that place or as the name.

    Raises `PruneryError` naming file and line of a label that is neither.
    """
    places = {str(place): place for place in range(len(classes))}
    places |= {name: place for place, name in enumerate(classes)}
    for label, line in zip(table.labels, table.lines, strict=True):
        if label not in places:
            known = f"0 to {len(classes) - 1} or a name of labels.json"
            raise PruneryError(f"{table.path}, line {line}: the label {label!r} is not one of the classes ({known})")
    return torch.tensor([places[label] for label in table.labels], dtype=torch.int64)
