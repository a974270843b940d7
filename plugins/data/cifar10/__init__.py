"""Data source `cifar10`: CIFAR-10 from lossless sheets or from the files it is published in."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, final

from pydantic import Field, field_validator

from prunery import DataSource, hookimpl
from prunery.datafolder import dataset_folder, missing, require
from prunery.datasettings import ImageSettings

if TYPE_CHECKING:
    from prunery.data import Dataset

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
PUBLISHED = "cifar-10-batches-py"


class Cifar10Settings(ImageSettings):
    """Settings of `cifar10`."""

    folder: str = Field("cifar10", description="folder of the files, below the data folder or absolute")
    batches: tuple[Annotated[int, Field(ge=1, le=5)], ...] = Field(
        (1, 2, 3, 4, 5), min_length=1, description="which of the five training files to use, 10,000 images each"
    )

    @field_validator("batches")
    @classmethod
    def _distinct(cls, batches: tuple[int, ...]) -> tuple[int, ...]:
        if len(set(batches)) < len(batches):
            raise ValueError("a training file is named twice")
        return batches


@final
class Cifar10(DataSource):
    """60,000 colour photographs of 32 by 32 pixels, ten classes, the published order and split."""

    name = "cifar10"
    Settings = Cifar10Settings

    def files(self, folder: Path | None) -> list[Path]:
        """The test file and the training files in use, then `labels.npz` if they are sheets."""
        here = dataset_folder(self.name, self.settings.folder, folder)
        if (here / "labels.npz").is_file():
            sheets = ["test.webp", *(f"train_{number}.webp" for number in self.settings.batches)]
            return require(self.name, here, [[sheet] for sheet in [*sheets, "labels.npz"]])
        pickles = ["test_batch", *(f"data_batch_{number}" for number in self.settings.batches)]
        for place in (here, here / PUBLISHED):
            if (place / "test_batch").is_file():
                return require(self.name, place, [[name] for name in pickles])
        wanted = (
            f"the sheets train_1.webp ... test.webp with labels.npz, or the unpacked {PUBLISHED} (data_batch_1 ...)"
        )
        raise missing(self.name, wanted, here)

    def load(self, folder: Path | None) -> Dataset:
        """Read whichever kind of file there is."""
        from prunery.data import assemble
        from prunery.images import normalisation

        from .core import read_published, read_sheet_files

        files = self.files(folder)
        read = read_sheet_files if files[-1].name == "labels.npz" else read_published
        train, test = read(files, self.settings.batches)
        return assemble("image", CLASSES, train, test, self.settings, **normalisation(self.settings, 3))


@hookimpl
def register_methods() -> list[type]:
    """Hand the registry this source."""
    return [Cifar10]
