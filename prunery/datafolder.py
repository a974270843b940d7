"""Where a user's data lies, and what to say when it does not. Imports no torch."""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from prunery.errors import PruneryError

REMEDY = "put it there, or set data_folder in the config or PRUNERY_DATA to the folder that holds it"


def expanded(text: str) -> Path:
    """A path with `~` written out. Raises `PruneryError` if it names a user that does not exist."""
    try:
        return Path(text).expanduser()
    except RuntimeError as error:
        raise PruneryError(f"the path {text!r} names a user that does not exist: write it out") from error


def data_folder(configured: str | None) -> Path | None:
    """The user's data folder: the config's `data_folder`, else the variable `PRUNERY_DATA`, else None."""
    chosen = configured or os.environ.get("PRUNERY_DATA")
    return expanded(chosen) if chosen else None


def _lacking(folder: Path) -> str:
    """The folder, and the first of its parents that is not there."""
    absent = [each for each in (*reversed(folder.parents), folder) if not each.exists()]
    return f"{folder}, but there is no {absent[0]}" if absent else str(folder)


def dataset_folder(source: str, name: str, folder: Path | None) -> Path:
    """The folder of the data set `name`: an absolute path as it is, any other below the data folder.

    Raises `PruneryError` if the path is relative and no data folder is set.
    """
    path = expanded(name)
    if path.is_absolute():
        return path
    if folder is None:
        raise PruneryError(f"data source {source!r} wants the folder {name!r}, but no data folder is set: {REMEDY}")
    return folder / path


def missing(source: str, wanted: str, looked: Path) -> PruneryError:
    """The error of a data set that is not there."""
    return PruneryError(f"data source {source!r} wants {wanted}; looked in {_lacking(looked)}: {REMEDY}")


def require(source: str, folder: Path, wanted: Iterable[Sequence[str]]) -> list[Path]:
    """One file for each entry of `wanted`, an entry being the names it may have, the preferred one first.

    Raises `PruneryError` naming every entry that is missing.
    """
    found: list[Path] = []
    absent: list[str] = []
    for names in wanted:
        present = [folder / name for name in names if (folder / name).is_file()]
        found += present[:1]
        absent += [] if present else [" or ".join(names[:2])]
    if absent:
        raise missing(source, ", ".join(absent), folder)
    return found


def tokenizer_files(tokenizer: str) -> list[Path]:
    """The local files of the setting `tokenizer`: `tokenizer.json`, or none for `words` and for hub names.

    Raises `PruneryError` if it is a path to a folder without that file, or to nothing.
    """
    path = expanded(tokenizer)
    if path.is_file():
        return [path]
    if path.is_dir() and tokenizer != "words":
        return require(f"tokenizer {tokenizer}", path, [("tokenizer.json",)])
    if path.is_absolute() or tokenizer.startswith((".", "~")):
        raise PruneryError(f"setting tokenizer: there is no file or folder {tokenizer!r}")
    return []
