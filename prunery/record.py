"""A checkpoint's record, `model.json`: what the network is, where it came from, every hash. Imports no torch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, Field, ValidationError

from prunery.errors import PruneryError

FORMAT = 1
RECORD = "model.json"


class _Spec(BaseModel):
    kind: str
    shape: list[int]
    classes: int
    vocabulary: int


class _Network(BaseModel):
    model: str
    settings: dict[str, Any]
    spec: _Spec


class _Replica(BaseModel):
    edits: list[dict[str, Any]]
    files: dict[Annotated[str, Field(pattern=r"^[0-9]+(\.companions)?\.safetensors$")], str]
    tensors: dict[str, dict[str, Any]]


class _Record(BaseModel):
    """What must be there for the record to be read; what else there is, is for people and reports."""

    network: _Network
    provenance: dict[str, Any]
    replicas: dict[Annotated[str, Field(pattern=r"^[0-9]+$")], _Replica] = Field(min_length=1)


def read_record(folder: Path) -> dict[str, Any]:
    """`model.json` of a folder. Raises `PruneryError` if it is absent, damaged or of another format."""
    path = folder / RECORD
    try:
        record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        number = int(record["format"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise PruneryError(f"{path} is not a readable checkpoint ({error}): delete it and run again") from error
    if number != FORMAT:
        remedy = "update Prunery" if number > FORMAT else "delete it and run again"
        raise PruneryError(f"{path} has format {number}, this Prunery reads format {FORMAT}: {remedy}")
    try:
        _Record.model_validate(record)
    except ValidationError as error:
        first = error.errors()[0]
        why = f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
        raise PruneryError(f"{path} is not a whole checkpoint ({why}): delete it and run again") from error
    return record
