"""Data source `image_folder`: one folder of pictures for each class."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, final

from pydantic import Field

from prunery import DataSource, PruneryError, hookimpl
from prunery.datafolder import dataset_folder, missing
from prunery.datasettings import PhotoSettings

if TYPE_CHECKING:
    from prunery.data import Dataset

SUFFIXES = {".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"}
HELD_OUT = ("test", "val")
Pictures = dict[str, list[Path]]


class ImageFolderSettings(PhotoSettings):
    """Settings of `image_folder`."""

    folder: str = Field("images", description="folder that holds train and test (or val), below the data folder")


def pictures_of(split: Path) -> Pictures:
    """Class -> its picture files, both sorted. Raises `PruneryError` naming a class without pictures."""
    found: Pictures = {}
    for folder in sorted(path for path in split.iterdir() if path.is_dir() and not path.name.startswith(".")):
        found[folder.name] = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
        if not found[folder.name]:
            raise PruneryError(
                f"the class folder {folder} holds no pictures: add some ({', '.join(sorted(SUFFIXES))}) or remove it"
            )
    return found


@final
class ImageFolder(DataSource):
    """Pictures of any size in `train/<class>/` and `test/<class>/`."""

    name = "image_folder"
    Settings = ImageFolderSettings

    def files(self, folder: Path | None) -> list[Path]:
        """Every picture of both splits."""
        return [path for split in self._splits(folder) for paths in split.values() for path in paths]

    def load(self, folder: Path | None) -> Dataset:
        """Read and resize every picture."""
        from prunery.data import assemble
        from prunery.images import normalisation

        from .core import samples

        pictures = self._splits(folder)
        classes = tuple(pictures[0])
        train, test = (samples(split, classes, self.settings) for split in pictures)
        meta = normalisation(self.settings, self.settings.channels)
        return assemble("image", classes, train, test, self.settings, **meta)

    def _splits(self, folder: Path | None) -> tuple[Pictures, Pictures]:
        """The pictures of the training and of the held-out split."""
        here = dataset_folder(self.name, self.settings.folder, folder)
        held_out = next((here / name for name in HELD_OUT if (here / name).is_dir()), None)
        if held_out is None or not (here / "train").is_dir():
            raise missing(self.name, "the folders train/<class>/ and test/<class>/ (or val/<class>/)", here)
        train, test = pictures_of(here / "train"), pictures_of(held_out)
        odd = sorted(set(test) - set(train))
        if odd:
            raise PruneryError(
                f"{held_out / odd[0]} is a class that {here / 'train'} does not have: rename or remove it"
            )
        return train, test


@hookimpl
def register_methods() -> list[type]:
    """Hand the registry this source."""
    return [ImageFolder]
