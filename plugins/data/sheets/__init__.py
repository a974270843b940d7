"""Data source `sheets`: images of one size stored as tiles of a few large pictures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, final

from pydantic import Field

from prunery import DataSource, hookimpl
from prunery.datafolder import dataset_folder, missing, require
from prunery.datasettings import ImageSettings

if TYPE_CHECKING:
    from prunery.data import Dataset

LABELS = "labels.npz"
HELD_OUT = ("test", "val")


class SheetsSettings(ImageSettings):
    """Settings of `sheets`."""

    folder: str = Field("cifar100-subset", description="folder of the files, below the data folder or absolute")
    tile: int = Field(32, ge=1, le=4096, description="height and width of one image in a sheet, pixels")
    classes: tuple[str, ...] = Field((), description="names of the labels 0, 1, ...; empty: their numbers")


def sheets_of(folder: Path, split: str) -> list[Path]:
    """`train.webp`, or `train_1.webp`, `train_2.webp`, ... by number; png as well."""
    found = [path for path in folder.glob(f"{split}*") if path.suffix in (".webp", ".png")]
    numbers = {path: path.stem.removeprefix(split).removeprefix("_") or "0" for path in found}
    return sorted((path for path in found if numbers[path].isdecimal()), key=lambda path: int(numbers[path]))


@final
class Sheets(DataSource):
    """Sheets of equal tiles, `train` and `test` or `val`, with their labels in `labels.npz`."""

    name = "sheets"
    Settings = SheetsSettings

    def files(self, folder: Path | None) -> list[Path]:
        """The labels and all sheets."""
        here, parts = self._sheets(folder)
        return [here / LABELS, *(path for paths in parts.values() for path in paths)]

    def load(self, folder: Path | None) -> Dataset:
        """Cut the sheets into tiles."""
        from prunery.data import assemble
        from prunery.images import normalisation, read_label_arrays, read_sheets

        here, parts = self._sheets(folder)
        labels = read_label_arrays(here / LABELS, {f"{name}_y": None for name in parts})
        train, test = (
            (read_sheets(paths, self.settings.tile, len(labels[f"{name}_y"])), labels[f"{name}_y"])
            for name, paths in parts.items()
        )
        classes = self.settings.classes or tuple(str(label) for label in range(int(train[1].max()) + 1))
        return assemble("image", classes, train, test, self.settings, **normalisation(self.settings, train[0].shape[1]))

    def _sheets(self, folder: Path | None) -> tuple[Path, dict[str, list[Path]]]:
        """The folder and the sheets of the two published splits, the training split first."""
        here = dataset_folder(self.name, self.settings.folder, folder)
        require(self.name, here, [[LABELS]])
        held_out = next((name for name in HELD_OUT if sheets_of(here, name)), "test")
        parts = {name: sheets_of(here, name) for name in ("train", held_out)}
        for name, paths in parts.items():
            if not paths:
                raise missing(self.name, f"{name}.webp (or {name}_1.webp, {name}_2.webp, ...)", here)
        return here, parts


@hookimpl
def register_methods() -> list[type]:
    """Hand the registry this source."""
    return [Sheets]
