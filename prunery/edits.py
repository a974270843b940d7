"""Edits: what turns the freshly built network into the one a checkpoint holds, replayed in order at every load.

An edit is a plain dictionary with its kind under `edit`. It changes structure only; values are filled in afterwards
from the checkpoint's tensors, strictly, so an edit that is forgotten cannot go unnoticed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

import torch
from torch import nn

from prunery.errors import PruneryError
from prunery.fakequant import Rounding
from prunery.folding import Pair, fold
from prunery.integer import integer_layer
from prunery.layers import layer_of
from prunery.simulating import fake_quantized, float_layer

Edit = dict[str, Any]


def add_masks(network: nn.Module, edit: Edit) -> None:
    """Give each layer of `keys` a companion `<key>/mask` (bool, True = the weight lives)."""
    for key in edit["keys"]:
        layer = layer_of(network, key)
        if "weight/mask" not in layer._buffers:
            layer.register_buffer("weight/mask", torch.ones_like(layer.get_parameter("weight"), dtype=torch.bool))


def fold_batch_norms(network: nn.Module, edit: Edit) -> None:
    """Fold the batch norms of `pairs` (layer, norm) into their layers: norms vanish, layers without bias gain one."""
    for layer, norm in edit["pairs"]:
        fold(network, (layer, norm))


def replace_by_integers(network: nn.Module, edit: Edit) -> None:
    """Put the integer counterpart in the place of each layer of `keys`, floating point or simulating."""
    for key in edit["keys"]:
        layer = layer_of(network, key)
        _replace(network, layer, integer_layer(layer))


def simulate_quantization(network: nn.Module, edit: Edit) -> None:
    """Put the simulating counterpart in the place of each layer of `layers`, which holds the fields of `Rounding`."""
    for key, rounding in edit["layers"].items():
        layer = layer_of(network, key)
        _replace(network, layer, fake_quantized(layer, Rounding(**rounding)))


def stop_simulating(network: nn.Module, edit: Edit) -> None:
    """Put the float counterpart in the place of each simulating layer of `keys`."""
    for key in edit["keys"]:
        layer = layer_of(network, key)
        _replace(network, layer, float_layer(layer))


def _replace(network: nn.Module, old: nn.Module, new: nn.Module) -> None:
    """Put a layer in the place of another, wherever the network refers to it."""
    for owner in list(network.modules()):
        for name, child in list(owner._modules.items()):
            if child is old:
                setattr(owner, name, new)


KINDS: dict[str, Callable[[nn.Module, Edit], None]] = {
    "mask": add_masks,
    "fold_batch_norm": fold_batch_norms,
    "integers": replace_by_integers,
    "fake_quantize": simulate_quantization,
    "float": stop_simulating,
}


def replay(network: nn.Module, edits: list[Edit]) -> nn.Module:
    """Apply edits in order, in place. Raises `PruneryError` for a kind this version does not know."""
    for edit in edits:
        if edit.get("edit") not in KINDS:
            kind = edit.get("edit")
            raise PruneryError(f"the checkpoint holds an edit of kind {kind!r}, unknown to this Prunery: update it")
        KINDS[edit["edit"]](network, edit)
    return network


def mask_edit(keys: list[str]) -> Edit:
    """The edit that gives these weights masks."""
    return {"edit": "mask", "keys": sorted(keys)}


def integers_edit(keys: list[str]) -> Edit:
    """The edit that stores these weights as integers."""
    return {"edit": "integers", "keys": sorted(keys)}


def fold_edit(pairs: list[Pair]) -> Edit:
    """The edit that folds these batch norms into the layers before them."""
    return {"edit": "fold_batch_norm", "pairs": [list(pair) for pair in pairs]}


def fake_quantize_edit(roundings: Mapping[str, Rounding]) -> Edit:
    """The edit that lets the layers of these weights simulate quantization."""
    return {"edit": "fake_quantize", "layers": {key: asdict(roundings[key]) for key in sorted(roundings)}}


def float_edit(keys: list[str]) -> Edit:
    """The edit that ends the simulation in the layers of these weights."""
    return {"edit": "float", "keys": sorted(keys)}
