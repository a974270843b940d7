"""Data source `hf`: a data set of the Hugging Face hub, or a local one that the datasets library reads."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal, final

from pydantic import Field

from prunery import DataSource, PruneryError, hookimpl
from prunery.datafolder import REMEDY, expanded, tokenizer_files
from prunery.datasettings import PhotoSettings, TextSettings

if TYPE_CHECKING:
    from prunery.data import Dataset


class HfSettings(TextSettings, PhotoSettings):
    """Settings of `hf`; those of the other kind (text or image) have no effect."""

    argument = "name"

    name: str = Field("stanfordnlp/imdb", description="name on the hub, or a folder below the data folder or absolute")
    config: str | None = Field(None, description="configuration of the data set, if it has several")
    revision: str | None = Field(None, description="commit of a hub's data set; pin one to have the same data always")
    kind: Literal["text", "image"] = Field("text", description="what the samples are")
    column: str | None = Field(None, description="column of the samples; null: `text` or `image`, as the kind is")
    label_column: str = Field("label", description="column of the labels")
    train_split: str = Field(
        "train", description="training split (validation is cut off it); slices as in `train[:50%]`"
    )
    test_split: str = Field("test", description="test split")


@final
class Hf(DataSource):
    """Texts or images through the datasets library."""

    name = "hf"
    Settings = HfSettings
    imports = ("datasets",)
    versions = ("datasets",)

    def files(self, folder: Path | None) -> list[Path]:
        """The files of a local data set and tokenizer; a data set of the hub has none."""
        here = self._local(folder)
        own = [path for path in sorted(here.rglob("*")) if _is_data(path, here)] if here else []
        if here and not own:
            raise PruneryError(f"data source 'hf' wants data files; looked in {here}: {REMEDY}")
        return own + (tokenizer_files(self.settings.tokenizer) if self.settings.kind == "text" else [])

    def load(self, folder: Path | None) -> Dataset:
        """Fetch or read the splits, then tokenise or resize their samples."""
        from prunery.data import assemble

        from .core import columns, fetch, image_inputs, labelled, text_inputs

        settings = self.settings
        with fetch(settings, self._local(folder)) as parts:
            train, test = (columns(part, settings) for part in parts)
            classes, labels = labelled(train, test, settings)
            inputs, meta = (text_inputs if settings.kind == "text" else image_inputs)(train, test, settings)
        pairs = (inputs[0], labels[0]), (inputs[1], labels[1])
        return assemble(settings.kind, classes, *pairs, settings, **meta)

    def _local(self, folder: Path | None) -> Path | None:
        """The folder of a local data set, None for one of the hub. Raises `PruneryError` if a path leads nowhere."""
        path = expanded(self.settings.name)
        below = folder / path if folder else path
        if below.is_dir() and (folder or path.is_absolute()):
            return below
        if path.is_absolute() or self.settings.name.startswith("."):
            raise PruneryError(f"data source 'hf' wants a folder; there is none at {below}: {REMEDY}")
        return None


def _is_data(path: Path, folder: Path) -> bool:
    hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
    return path.is_file() and not hidden


@hookimpl
def register_methods() -> list[type]:
    """Hand the registry this source."""
    return [Hf]
