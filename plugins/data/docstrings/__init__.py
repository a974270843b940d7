"""Data source `docstrings`: which package does a docstring come from?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, final

from pydantic import Field

from prunery import DataSource, hookimpl
from prunery.datafolder import tokenizer_files
from prunery.datasettings import TextSettings

if TYPE_CHECKING:
    from prunery.data import Dataset

PACKAGES = ("numpy", "scipy", "pandas", "sklearn", "torch")


class DocstringsSettings(TextSettings):
    """Settings of `docstrings`."""

    per_package: int = Field(1200, ge=10, description="most texts of one package; keeps the classes balanced")
    words: int = Field(20, ge=1, description="shortest text in use, words")
    test: float = Field(0.2, gt=0, lt=1, description="share of each package's texts in the test split, whole files")
    hide_names: bool = Field(True, description="whether names and aliases of the packages are cut out of the texts")


@final
class Docstrings(DataSource):
    """Docstrings of five installed packages, the label being the package; nothing is imported or run."""

    name = "docstrings"
    Settings = DocstringsSettings
    versions = ("numpy", "scipy", "pandas", "scikit-learn", "torch")

    def files(self, folder: Path | None) -> list[Path]:
        """The tokenizer's, if it is a local one; `versions` stands for the installed packages."""
        return tokenizer_files(self.settings.tokenizer)

    def load(self, folder: Path | None) -> Dataset:
        """Parse the packages' source files."""
        import torch

        from prunery.data import assemble
        from prunery.text import encode

        from .core import collect, divide

        train, test = divide(collect(PACKAGES, self.settings), self.settings.test)
        inputs = encode([text.words for text in train], [text.words for text in test], self.settings)
        labels = [torch.tensor([text.label for text in part]) for part in (train, test)]
        return assemble(
            "text",
            PACKAGES,
            (inputs[0], labels[0]),
            (inputs[1], labels[1]),
            self.settings,
            groups=torch.tensor([text.file for text in train]),
            vocabulary=inputs[2],
        )


@hookimpl
def register_methods() -> list[type]:
    """Hand the registry this source."""
    return [Docstrings]
