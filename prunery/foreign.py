"""Weights that other programs wrote: state dicts in safetensors or `.pt` files, read without running any code."""

from __future__ import annotations

import pickle
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from prunery.errors import PruneryError, cut

WRAPPERS = ("state_dict", "model_state_dict", "model")
"""Under which of these a training program's `.pt` file keeps the state dict."""
PREFIX = "module."
"""What data-parallel training puts before every key."""


def read_state(path: Path) -> dict[str, Tensor]:
    """The state dict in a `.safetensors`, `.pt`, `.pth` or `.bin` file, on the CPU.

    Pickled objects other than tensors and plain containers are refused, not loaded.
    Raises `PruneryError` naming the file when it is absent, damaged, or holds something else.
    """
    if not path.is_file():
        raise PruneryError(f"{path}: there is no such file of weights")
    try:
        loaded: Mapping[str, Any] = load_file(path) if path.suffix == ".safetensors" else _unpickle(path)
    except PruneryError:
        raise
    except Exception as error:  # a damaged file may fail in any way; none of them has run anything
        raise PruneryError(
            f"{path} is not a readable file of weights ({cut(str(error))}): download or export it again"
        ) from error
    state = next((loaded[name] for name in WRAPPERS if isinstance(loaded.get(name), Mapping)), loaded)
    if not state or not all(isinstance(key, str) and isinstance(value, Tensor) for key, value in state.items()):
        raise PruneryError(
            f"{path} holds no state dict (names and tensors): save it with torch.save(model.state_dict(), ...)"
        )
    whole = all(key.startswith(PREFIX) for key in state)
    return {key.removeprefix(PREFIX) if whole else key: value for key, value in state.items()}


def _unpickle(path: Path) -> Mapping[str, Any]:
    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise PruneryError(
            f"{path} is damaged, or holds Python objects besides tensors, which would run code and are refused: "
            "save its state dict as safetensors"
        ) from error
    return loaded if isinstance(loaded, Mapping) else {}


def fill(network: nn.Module, state: Mapping[str, Tensor], source: str, fresh: Iterable[str] = ()) -> None:
    """Give a network these values, strictly; keys that match a pattern (as in a shell) of `fresh` keep their own.

    Raises `PruneryError` naming `source` and the first key that differs, or a pattern that matches nothing.
    """
    own, patterns = network.state_dict(), tuple(fresh)
    for pattern in patterns:
        if not any(fnmatchcase(key, pattern) for key in own):
            raise PruneryError(f"setting fresh: {pattern!r} matches no key of the network, such as {next(iter(own))!r}")
    wanted = {key for key in own if not _matches(key, patterns)}
    found = {key: value for key, value in state.items() if not _matches(key, patterns)}
    for key in sorted(wanted ^ set(found)):
        raise PruneryError(f"{source} does not fit: {key!r} is only in the {'network' if key in wanted else 'file'}")
    for key, value in found.items():
        _check_value(value, own[key], f"{source} does not fit: {key!r}")
    network.load_state_dict({**own, **found}, strict=True)


def _check_value(value: Tensor, own: Tensor, where: str) -> None:
    if value.shape != own.shape:
        raise PruneryError(f"{where} is {list(value.shape)} in the file, {list(own.shape)} in the network")
    if value.is_floating_point() != own.is_floating_point():
        raise PruneryError(f"{where} is of {value.dtype} in the file, of {own.dtype} in the network")
    if value.is_floating_point() and not bool(value.isfinite().all()):
        raise PruneryError(f"{where} holds NaN or infinity: take a file from before the training diverged")


def _matches(key: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(key, pattern) for pattern in patterns)
