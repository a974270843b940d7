"""Data source `digits`: scikit-learn's handwritten digits."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, final

from pydantic import Field

from prunery import DataSource, hookimpl
from prunery.datasettings import ImageSettings

if TYPE_CHECKING:
    from prunery.data import Dataset


class DigitsSettings(ImageSettings):
    """Settings of `digits`."""

    test: float = Field(0.2, gt=0, lt=1, description="share of the images in the test split, drawn with a fixed seed")
    enlarge: int = Field(1, ge=1, le=28, description="side of the square of equal pixels that each one becomes")


@final
class Digits(DataSource):
    """1,797 pictures of handwritten digits, 8 by 8 pixels."""

    name = "digits"
    Settings = DigitsSettings
    versions = ("scikit-learn",)

    def load(self, folder: Path | None) -> Dataset:
        """Read the csv file that scikit-learn installs."""
        from prunery.data import assemble
        from prunery.images import normalisation

        from .core import divide, enlarged, installed_csv, read_digits

        images, labels = read_digits(installed_csv())
        train, test = divide(enlarged(images, self.settings.enlarge), labels, self.settings.test)
        classes = tuple("0123456789")
        return assemble("image", classes, train, test, self.settings, **normalisation(self.settings, 1))


@hookimpl
def register_methods() -> list[type]:
    """Hand the registry this source."""
    return [Digits]
