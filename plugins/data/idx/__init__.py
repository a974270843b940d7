"""Data source `idx`: the four files that MNIST and its successors are published in."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, final

from pydantic import Field

from prunery import DataSource, hookimpl
from prunery.datafolder import dataset_folder, require
from prunery.datasettings import ImageSettings

if TYPE_CHECKING:
    from prunery.data import Dataset

FILES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")


def spellings(name: str) -> tuple[str, ...]:
    """The names under which a file is found in the wild."""
    dotted = name.replace("-idx", ".idx")
    return (name, f"{name}.gz", dotted, f"{dotted}.gz")


class IdxSettings(ImageSettings):
    """Settings of `idx`."""

    folder: str = Field("mnist", description="folder of the four files, below the data folder or absolute")
    classes: tuple[str, ...] = Field((), description="names of the labels 0, 1, ...; empty: their numbers")


@final
class Idx(DataSource):
    """Grey images and their labels from idx files."""

    name = "idx"
    Settings = IdxSettings

    def files(self, folder: Path | None) -> list[Path]:
        """The four files, packed or not."""
        return require(self.name, dataset_folder(self.name, self.settings.folder, folder), map(spellings, FILES))

    def load(self, folder: Path | None) -> Dataset:
        """Read the four files."""
        from prunery.data import assemble
        from prunery.images import normalisation

        from .core import read_samples

        files = self.files(folder)
        train, test = read_samples(*files[:2]), read_samples(*files[2:])
        classes = self.settings.classes or tuple(str(label) for label in range(int(train[1].max()) + 1))
        return assemble("image", classes, train, test, self.settings, **normalisation(self.settings, 1))


@hookimpl
def register_methods() -> list[type]:
    """Hand the registry this source."""
    return [Idx]
