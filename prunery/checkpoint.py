"""Checkpoints: a folder with `model.json` and one safetensors file per seed; loaded strictly, written atomically.

`<seed>.safetensors` is an ordinary state dict; companions (`<key>/mask`, `<key>/scale`, ...) lie in
`<seed>.companions.safetensors`. `model.json` says how to build the network, which edits to replay, where it came from,
and the hash of every file and tensor. It is written last: a folder without it holds nothing, a folder with it is whole.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from prunery.data import Spec
from prunery.edits import Edit, replay
from prunery.errors import PruneryError
from prunery.files import save_json, save_tensors, sha256
from prunery.record import FORMAT, RECORD, read_record


@dataclass(frozen=True)
class Origin:
    """How the fresh network is built: an `Architecture` by name, its settings, the data it is built for."""

    model: str
    settings: dict[str, Any]
    spec: Spec


@dataclass
class Replica:
    """One network of a checkpoint and the edits that shaped it."""

    network: nn.Module
    edits: list[Edit] = field(default_factory=list)


@dataclass
class Checkpoint:
    """A checkpoint in memory.

    `provenance` holds stage, method, its distribution and version, settings, fingerprint and the parent's hash.
    """

    origin: Origin
    replicas: dict[int, Replica]
    provenance: dict[str, Any] = field(default_factory=dict)
    hash: str = ""

    @property
    def seeds(self) -> list[int]:
        """The replicas' seeds, ascending."""
        return list(self.replicas)

    @property
    def networks(self) -> list[nn.Module]:
        """The replicas' networks, in the order of `seeds`."""
        return [replica.network for replica in self.replicas.values()]

    def child(self, replicas: dict[int, Replica], provenance: dict[str, Any]) -> Checkpoint:
        """A checkpoint made from this one."""
        return replace(self, replicas=replicas, provenance={**provenance, "parent": self.hash}, hash="")


def tensor_facts(tensor: Tensor) -> dict[str, Any]:
    """Shape, dtype, share of zeros and the hash of the bytes of one tensor."""
    plain = tensor.detach().cpu().contiguous()
    data = plain.reshape(-1).view(torch.uint8).numpy().tobytes() if plain.numel() else b""
    zeros = float((plain == 0).float().mean()) if plain.numel() else 0.0
    return {
        "shape": list(plain.shape),
        "dtype": str(plain.dtype).removeprefix("torch."),
        "zeros": zeros,
        "sha256": hashlib.sha256(data).hexdigest(),
    }


def save(checkpoint: Checkpoint, folder: Path) -> None:
    """Write a checkpoint; `model.json` last."""
    folder.mkdir(parents=True, exist_ok=True)
    replicas = {}
    for seed, replica in checkpoint.replicas.items():
        state = replica.network.state_dict()
        files = {}
        for name, part in _parts(seed, state).items():
            save_tensors(part, folder / name)
            files[name] = sha256(folder / name)
        tensors = {key: tensor_facts(value) for key, value in state.items()}
        replicas[str(seed)] = {"edits": replica.edits, "files": files, "tensors": tensors}
    origin = checkpoint.origin
    network = {"model": origin.model, "settings": origin.settings, "spec": vars(origin.spec)}
    record = {"format": FORMAT, "network": network, "provenance": checkpoint.provenance, "replicas": replicas}
    save_json(record, folder / RECORD)


def _parts(seed: int, state: dict[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    """A state dict split into its plain file and, if there are any, its companions' file."""
    plain = {key: value for key, value in state.items() if "/" not in key}
    companions = {key: value for key, value in state.items() if "/" in key}
    named = {f"{seed}.safetensors": plain, f"{seed}.companions.safetensors": companions}
    return {name: part for name, part in named.items() if part}


def load(folder: Path, build: Callable[[Origin], nn.Module]) -> Checkpoint:
    """Read a checkpoint: build each network, replay its edits, fill its tensors strictly, verify the hashes.

    `build` makes the bare network (`prunery.network.build`). Raises `PruneryError` naming the file when one is
    missing, truncated or altered, or when keys do not match.
    """
    record = read_record(folder)
    network = record["network"]
    origin = Origin(network["model"], network["settings"], Spec.of(network["spec"]))
    replicas = {}
    for seed, entry in record["replicas"].items():
        module = _shaped(build, origin, entry["edits"], folder / RECORD)
        _fill(module, _tensors(folder, entry["files"]), folder, seed)
        replicas[int(seed)] = Replica(module, entry["edits"])
    ordered = dict(sorted(replicas.items()))
    return Checkpoint(origin, ordered, record["provenance"], sha256(folder / RECORD))


def _shaped(build: Callable[[Origin], nn.Module], origin: Origin, edits: list[Edit], path: Path) -> nn.Module:
    """The network without its values. Raises `PruneryError` naming the record that asks for what is not there."""
    try:
        return _replayed(build(origin), edits)
    except PruneryError as error:
        raise PruneryError(f"{path}: {error}") from error


def _replayed(network: nn.Module, edits: list[Edit]) -> nn.Module:
    try:
        return replay(network, edits, values=False)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        why = f"{type(error).__name__}: {error}"
        raise PruneryError(f"its edits do not fit its network ({why}): delete it and run again") from error


def _tensors(folder: Path, files: dict[str, str]) -> dict[str, Tensor]:
    state: dict[str, Tensor] = {}
    for name, digest in files.items():
        path = folder / name
        if not path.exists():
            raise PruneryError(f"{path} is missing: delete {folder / RECORD} and run again")
        if sha256(path) != digest:
            remedy = f"delete {folder / RECORD} and run again"
            raise PruneryError(f"{path} is not what was written (its hash differs): {remedy}")
        try:
            state |= load_file(path)
        except SafetensorError as error:
            raise PruneryError(f"{path} is damaged ({error}): delete {folder / RECORD} and run again") from error
    return state


def _kind(tensor: Tensor) -> tuple[torch.Size, torch.dtype]:
    return tensor.shape, tensor.dtype


def _fill(module: nn.Module, state: dict[str, Tensor], folder: Path, seed: str) -> None:
    wanted = module.state_dict()
    odd = sorted(set(wanted) ^ set(state))
    odd += [key for key in wanted if key in state and _kind(wanted[key]) != _kind(state[key])]
    if odd:
        raise PruneryError(
            f"{folder / seed}.safetensors does not fit the network of {RECORD} (first difference: {odd[0]}): "
            f"delete {RECORD} there and run again"
        )
    module.load_state_dict(state, strict=True)
