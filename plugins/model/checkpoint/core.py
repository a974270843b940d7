"""Reading what a local checkpoint holds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor

from prunery import Architecture, PruneryError
from prunery.checkpoint import read_record
from prunery.foreign import read_state
from prunery.network import load_checkpoint
from prunery.registry import registry


def configured(model: str, settings: dict[str, Any]) -> Architecture:
    """A model by name. Raises `PruneryError` offering the nearest name, or naming the setting that is wrong."""
    method = registry().configured("model", model, settings)
    assert isinstance(method, Architecture)
    return method


def recorded_model(folder: Path) -> Architecture:
    """The model that a Prunery folder says it was built by."""
    network = read_record(folder)["network"]
    return configured(network["model"], network["settings"])


def stored_values(path: Path, seed: int | None) -> dict[str, Tensor]:
    """The state dict of a file, or of one replica of a Prunery folder.

    Raises `PruneryError` if there is no such replica, or if it is compressed: extend its recipe instead.
    """
    if not path.is_dir():
        return read_state(path)
    checkpoint = load_checkpoint(path)
    chosen = checkpoint.seeds[0] if seed is None else seed
    if chosen not in checkpoint.replicas:
        raise PruneryError(f"model 'checkpoint', setting seed: {path} holds the seeds {checkpoint.seeds}, not {chosen}")
    replica = checkpoint.replicas[chosen]
    if replica.edits:
        kinds = ", ".join(sorted({edit["edit"] for edit in replica.edits}))
        raise PruneryError(
            f"model 'checkpoint': {path} is compressed already ({kinds}): name the dense network it came from"
        )
    return dict(replica.network.state_dict())
