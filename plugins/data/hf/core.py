"""From what the datasets library gives to tensors."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Int
from torch import Tensor

from prunery.errors import PruneryError, unknown
from prunery.images import normalisation, photos
from prunery.scratch import scratch
from prunery.text import encode

if TYPE_CHECKING:
    from datasets import Dataset
    from PIL.Image import Image as Picture

    from . import HfSettings

Inputs = tuple[tuple[Tensor, Tensor], dict[str, Any]]


@dataclass(frozen=True)
class Columns:
    """The two columns in use, read lazily, and the labels' names where the data set states them."""

    samples: Iterable[Any]
    labels: Sequence[Any]
    names: tuple[str, ...]


@contextmanager
def fetch(settings: HfSettings, folder: Path | None) -> Iterator[list[Dataset]]:
    """The training and the test split, readable within the context.

    A local folder holds files that the library recognises (csv, json, parquet, ...) or what `save_to_disk` wrote; the
    library's cache for it is thrown away, so that a changed file is never mistaken for an old one.
    Raises `PruneryError` if the data set, a split or the hub cannot be had.
    """
    import datasets
    from huggingface_hub.utils import logging

    datasets.disable_progress_bars()
    logging.set_verbosity_error()  # an unreachable hub is told once, not at every attempt
    with scratch() as cache:
        try:
            if folder and any((folder / name).is_file() for name in ("dataset_dict.json", "state.json")):
                parts = _saved(datasets.load_from_disk(str(folder)), settings)
            else:
                where = {"cache_dir": str(cache)} if folder else {"revision": settings.revision}
                splits = [settings.train_split, settings.test_split]
                parts = datasets.load_dataset(str(folder or settings.name), settings.config, split=splits, **where)
        except PruneryError:
            raise
        except Exception as error:  # hub, network, formats: the library has dozens of ways to fail
            raise PruneryError(_reason(settings, folder, error)) from error
        yield parts


def _reason(settings: HfSettings, folder: Path | None, error: Exception) -> str:
    if isinstance(error, ConnectionError):
        remedy = "connect to the network, or set name to a local copy's folder"
        return f"data source 'hf' cannot reach the hub for {settings.name!r} ({error}): {remedy}"
    return f"data source 'hf' cannot load {str(folder or settings.name)!r}: {error}"


def _saved(saved: Any, settings: HfSettings) -> list[Dataset]:
    """The two splits of what `save_to_disk` wrote, which has no slices."""
    names = sorted(saved) if isinstance(saved, dict) else []
    for name in (settings.train_split, settings.test_split):
        if name not in names:
            raise PruneryError(f"data source 'hf', {settings.name!r}: {unknown('split', name, names)}")
    return [saved[settings.train_split], saved[settings.test_split]]


def columns(part: Dataset, settings: HfSettings) -> Columns:
    """The columns in use. Raises `PruneryError` if one is missing."""
    samples = settings.column or settings.kind
    for name in (samples, settings.label_column):
        if name not in part.column_names:
            raise PruneryError(f"data source 'hf', {settings.name!r}: {unknown('column', name, part.column_names)}")
    feature = part.features[settings.label_column]
    return Columns(part[samples], list(part[settings.label_column]), tuple(getattr(feature, "names", None) or ()))


def labelled(
    train: Columns, test: Columns, settings: HfSettings
) -> tuple[tuple[str, ...], tuple[Int[Tensor, " train"], Int[Tensor, " test"]]]:
    """The classes and the labels of both splits.

    Classes are those the data set states; else the numbers from 0 to the largest training label; else the distinct
    training labels, sorted. Raises `PruneryError` if a label is missing or its class unknown.
    """
    where = f"data source 'hf', {settings.name!r}, column {settings.label_column!r}"
    everything = [*train.labels, *test.labels]
    odd = [label for label in everything if not isinstance(label, (int, str))]
    if odd:
        raise PruneryError(f"{where}: labels must be integers or strings, but one is {odd[0]!r}")
    if all(isinstance(label, int) for label in everything):
        classes = train.names or tuple(map(str, range(max(train.labels, default=-1) + 1)))
        place = {label: label for label in everything}
    else:
        classes = tuple(sorted(set(map(str, train.labels))))
        place = {name: number for number, name in enumerate(classes)}
    strange = [label for label in test.labels if label not in place]
    if strange:
        raise PruneryError(f"{where}: the test split's label {strange[0]!r} does not occur in training")
    first, second = (torch.tensor([place[label] for label in part.labels]).long() for part in (train, test))
    return classes, (first, second)


def text_inputs(train: Columns, test: Columns, settings: HfSettings) -> Inputs:
    """Token ids of both splits, and the vocabulary."""
    texts = [[_text(value, settings) for value in part.samples] for part in (train, test)]
    first, second, vocabulary = encode(texts[0], texts[1], settings)
    return (first, second), {"vocabulary": vocabulary}


def _text(value: Any, settings: HfSettings) -> str:
    if not isinstance(value, str):
        raise PruneryError(f"data source 'hf', {settings.name!r}: a text is {value!r}: choose a column of strings")
    return value


def image_inputs(train: Columns, test: Columns, settings: HfSettings) -> Inputs:
    """Resized images of both splits, and their normalisation."""
    first, second = (photos(_images(part.samples, settings), len(part.labels), settings) for part in (train, test))
    return (first, second), normalisation(settings, settings.channels)


def _images(values: Iterable[Any], settings: HfSettings) -> Iterator[Picture]:
    from PIL import Image

    for value in values:
        if not isinstance(value, Image.Image):
            found = type(value).__name__
            raise PruneryError(f"data source 'hf', {settings.name!r}: an image is a {found}: choose a column of images")
        yield value
