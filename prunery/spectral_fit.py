"""The spectral fit stage: one row of figures per compressible weight of each replica."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from importlib import import_module
from typing import Any

import torch
from threadpoolctl import ThreadpoolController
from torch import Tensor, nn

from prunery.attention import attention_parts
from prunery.checkpoint import Checkpoint
from prunery.contract import SpectralFitter
from prunery.errors import PruneryError
from prunery.layers import as_matrix, weights
from prunery.network import device


def spectral_fit(method: SpectralFitter, checkpoint: Checkpoint) -> dict[int, dict[str, dict[str, Any]]]:
    """Seed -> key of the weight -> what the method found of it; layers stored as integers are left out.

    Raises `PruneryError` naming the key if a row is not JSON (NaN and infinity are not).
    """
    return {seed: fit_network(method, replica.network) for seed, replica in checkpoint.replicas.items()}


def fit_network(method: SpectralFitter, network: nn.Module) -> dict[str, dict[str, Any]]:
    """The rows of one network, by key; computed where `prunery.network.device` says, the network stays where it is.

    Each row begins with `place`, which tells the order of the layers (files sort by key). Parts of attention that the
    method asks for have rows of their own (`prunery.attention`), in the place of their weight.
    """
    matrices = {key: as_matrix(weight) for key, weight in weights(network).items()}
    places, parts = {key: place for place, key in enumerate(matrices)}, attention_parts(network, method.split)
    matrices |= {name: matrices[key][rows] for name, (key, rows) in parts.items()}
    places |= {name: places[key] for name, (key, _) in parts.items()}

    def row(key: str, matrix: Tensor) -> dict[str, Any]:
        return {"place": places[key], **_checked(method, key, method.fit(matrix.to(device())))}

    for name in method.imports:
        import_module(name)  # the limit on threads reaches only libraries that are loaded
    with _workers() as pool:
        return dict(zip(matrices, pool.map(row, matrices.keys(), matrices.values()), strict=True))


@cache
def _libraries() -> ThreadpoolController:
    """The numerical libraries in this process; finding them takes as long as a fit, so it is done once."""
    return ThreadpoolController()


@contextmanager
def _workers() -> Iterator[ThreadPoolExecutor]:
    """One worker per core, each with libraries held to one thread: eigenvalues gain little from a second thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with _libraries().limit(limits=1), ThreadPoolExecutor(1 if device().type == "cuda" else threads) as pool:
            yield pool
    finally:
        torch.set_num_threads(threads)


def _checked(method: SpectralFitter, key: str, row: dict[str, Any]) -> dict[str, Any]:
    try:
        json.dumps(row, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise PruneryError(f"spectral_fit method {method.name!r}: its row of {key} is not JSON ({error})") from error
    return row
