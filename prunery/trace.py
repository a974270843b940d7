"""The journey of one tensor: what every step of a recipe did to it, read from the records on the way.

`prunery trace FOLDER KEY` prints it. Only `model.json` files are read, no tensor is.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prunery.errors import PruneryError, unknown
from prunery.files import sha256
from prunery.record import RECORD, read_record

Record = dict[str, Any]


def trace(folder: Path, key: str, seed: int | None = None) -> list[str]:
    """Lines that tell, from the trained network down to `folder`, what became of the tensor `key` of one replica.

    Every step has a line with its stage, variant and method; below it stand the tensor and its companions with dtype,
    shape, share of zeros and the start of the SHA-256 of their bytes. `seed` is the first one if None.
    Raises `PruneryError` if a folder holds no checkpoint, a parent is not the one its child was made from, or there
    is no such seed or tensor.
    """
    folders = checkpoints(folder)
    records = [read_record(each) for each in folders]
    for parent, child, record in zip(folders[:-1], folders[1:], records[1:], strict=True):
        _check_parent(parent, child, record)
    chosen = str(min(map(int, records[-1]["replicas"]))) if seed is None else str(seed)
    lines = [f"{folders[0]}, seed {chosen}"]
    for each, record in zip(folders, records, strict=True):
        lines += ["", _headline(record), *_rows(_tensors(each, record, chosen), key)]
    return lines


def checkpoints(folder: Path) -> list[Path]:
    """The checkpoint folders of a recipe, the trained network first and `folder` last."""
    if not (folder / RECORD).exists():
        raise PruneryError(f"{folder} holds no {RECORD}: give the folder of a recipe that has run")
    found = [folder]
    while (found[0].parent / RECORD).exists():
        found.insert(0, found[0].parent)
    return found


def _check_parent(parent: Path, child: Path, record: Record) -> None:
    if record["provenance"].get("parent") != sha256(parent / RECORD):
        raise PruneryError(f"{child} was made from another {parent / RECORD} than is there now: run the workflow again")


def _headline(record: Record) -> str:
    """The stage and its variant, and whose method it was."""
    made = record["provenance"]
    return f"{made['stage']}={made['variant']}  ({made['method']} of {made['distribution']} {made['version']})"


def _tensors(folder: Path, record: Record, seed: str) -> Record:
    replicas = record["replicas"]
    if seed not in replicas:
        raise PruneryError(f"{folder} holds the seeds {', '.join(replicas)}, not {seed}")
    tensors: Record = replicas[seed]["tensors"]
    return tensors


def _rows(tensors: Record, key: str) -> list[str]:
    """The tensor and its companions."""
    if key not in tensors:
        raise PruneryError(unknown("tensor", key, (name for name in tensors if "/" not in name)))
    names = [key, *sorted(name for name in tensors if name.startswith(f"{key}/"))]
    return [_row(name, tensors[name], max(map(len, names))) for name in names]


def _row(name: str, facts: Record, width: int) -> str:
    shape = "x".join(map(str, facts["shape"])) or "scalar"
    return f"  {name:{width}}  {facts['dtype']:8}{shape:>12}{zeros(facts):>14}  {facts['sha256'][:12]}"


def zeros(facts: Record) -> str:
    """The share of zeros of a tensor; of weights that lie two to a byte it is not known: a zero byte is two zeros."""
    return "packed" if facts["dtype"] == "uint8" and facts["shape"] else f"{facts['zeros']:.1%} zeros"
