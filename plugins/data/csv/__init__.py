"""Data source `csv`: labelled texts from csv files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, final

from pydantic import Field

from prunery import DataSource, hookimpl
from prunery.datafolder import dataset_folder, require, tokenizer_files
from prunery.datasettings import TextSettings

if TYPE_CHECKING:
    from prunery.data import Dataset

FILES = (("train.csv.gz", "train.csv"), ("test.csv.gz", "test.csv"))
LABELS = "labels.json"


class CsvSettings(TextSettings):
    """Settings of `csv`."""

    folder: str = Field("agnews", description="folder of the files, below the data folder or absolute")
    text_column: str = Field("text", description="column of the texts, as named in the header")
    label_column: str = Field("label", description="column of the labels: numbers from 0, or names")


@final
class Csv(DataSource):
    """Texts and labels from `train.csv` and `test.csv`, packed or not, with the labels' names in `labels.json`."""

    name = "csv"
    Settings = CsvSettings

    def files(self, folder: Path | None) -> list[Path]:
        """The two tables, the names of the labels and the tokenizer if they are there."""
        here = dataset_folder(self.name, self.settings.folder, folder)
        names = [path for path in [here / LABELS] if path.is_file()]
        return [*require(self.name, here, FILES), *names, *tokenizer_files(self.settings.tokenizer)]

    def load(self, folder: Path | None) -> Dataset:
        """Read and tokenise the tables."""
        from prunery.data import assemble
        from prunery.text import encode

        from .core import class_names, numbered, read_columns

        files = self.files(folder)
        columns = (self.settings.text_column, self.settings.label_column)
        train, test = (read_columns(path, *columns) for path in files[:2])
        classes = class_names(files[0].parent / LABELS, train.labels)
        labels = numbered(train, classes), numbered(test, classes)
        inputs = encode(train.texts, test.texts, self.settings)
        pairs = (inputs[0], labels[0]), (inputs[1], labels[1])
        return assemble("text", classes, *pairs, self.settings, vocabulary=inputs[2])


@hookimpl
def register_methods() -> list[type]:
    """Hand the registry this source."""
    return [Csv]
