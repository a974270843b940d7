"""Edits: what turns the freshly built network into the one a checkpoint holds, replayed in order at every load.

An edit is a plain dictionary with its kind under `edit`. It changes structure only; values are filled in afterwards
from the checkpoint's tensors, strictly, so an edit that is forgotten cannot go unnoticed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor, nn

from prunery.errors import PruneryError
from prunery.factors import make_factors, shape_factors
from prunery.fakequant import Rounding, WeightRounding
from prunery.folding import Pair, fold
from prunery.integer import integer_layer
from prunery.layers import layer_of, replace_layer
from prunery.merging import merge_tokens
from prunery.permuting import ORDER, order_after, permute_inputs
from prunery.simulating import fake_quantized, float_layer
from prunery.weightonly import WeightPlan, weight_layer

Edit = dict[str, Any]


def add_masks(network: nn.Module, edit: Edit) -> None:
    """Give each parameter of `keys` a companion `<key>/mask` (bool, True = the weight lives)."""
    for key in edit["keys"]:
        layer, name = layer_of(network, key), key.rpartition(".")[2]
        if f"{name}/mask" not in layer._buffers:
            layer.register_buffer(f"{name}/mask", torch.ones_like(layer.get_parameter(name), dtype=torch.bool))


def cut_channels(network: nn.Module, edit: Edit) -> nn.Module:
    """Keep some indices of some dimensions of tensors and of their masks, and set the numbers modules remember.

    `keep`: key -> dimension -> indices; `attributes`: module -> name -> value.
    """
    places = _places(network)
    for key, axes in edit["keep"].items():
        old = _tensor(network, key)
        for axis, indices in axes.items():
            _check_indices(key, old, int(axis), indices)
        _put(places, old, _cut(old, axes))
        layer, name = layer_of(network, key), key.rpartition(".")[2]
        if (mask := layer._buffers.get(f"{name}/mask")) is not None:
            layer._buffers[f"{name}/mask"] = _cut(mask, axes)
        if "1" in axes and (order := layer._buffers.get(ORDER)) is not None:
            left = torch.tensor(axes["1"], device=order.device)
            _put(places, order, order_after(order, left))
    for path, numbers in edit["attributes"].items():
        for name, value in numbers.items():
            setattr(network.get_submodule(path), name, tuple(value) if isinstance(value, list) else value)
    return network


def _tensor(network: nn.Module, key: str) -> Tensor:
    layer, name = layer_of(network, key), key.rpartition(".")[2]
    found: Tensor = layer._parameters[name] if name in layer._parameters else layer._buffers[name]  # type: ignore[assignment]
    return found


def _cut(tensor: Tensor, axes: Mapping[str, list[int]]) -> Tensor:
    cut = tensor.detach()
    for axis, indices in axes.items():
        cut = cut.index_select(int(axis), torch.tensor(indices, device=tensor.device))
    return nn.Parameter(cut, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else cut


def _check_indices(key: str, tensor: Tensor, axis: int, indices: list[int]) -> None:
    """A network that was built smaller than it was cannot be cut."""
    if not indices or sorted(set(indices)) != indices or not 0 <= indices[0] <= indices[-1] < tensor.shape[axis]:
        raise IndexError(f"dimension {axis} of {key} has {tensor.shape[axis]} indices, which are not those kept")


Places = dict[int, list[tuple[dict[str, Any], str]]]
"""Identity of a tensor -> wherever a network refers to it: a layer's parameters or buffers, and its name there."""


def _places(network: nn.Module) -> Places:
    """Where all tensors of a network are, in one walk."""
    found: Places = {}
    for owner in network.modules():
        for tensors in (owner._parameters, owner._buffers):
            for name, tensor in tensors.items():
                found.setdefault(id(tensor), []).append((tensors, name))
    return found


def _put(places: Places, old: Tensor, new: Tensor) -> None:
    """Put a tensor in the place of another."""
    places[id(new)] = places.pop(id(old))
    for tensors, name in places[id(new)]:
        tensors[name] = new


def fold_batch_norms(network: nn.Module, edit: Edit) -> None:
    """Fold the batch norms of `pairs` (layer, norm) into their layers: norms vanish, layers without bias gain one."""
    for layer, norm in edit["pairs"]:
        fold(network, (layer, norm))


def replace_by_integers(network: nn.Module, edit: Edit) -> None:
    """Put the integer counterpart in the place of each layer of `keys`, floating point or simulating."""
    for key in edit["keys"]:
        layer = layer_of(network, key)
        replace_layer(network, layer, integer_layer(layer, edit.get("bits", 8)))


def store_weights(network: nn.Module, edit: Edit) -> None:
    """Put the counterpart in another format in the place of each layer of `layers`: its `format`, its `group`."""
    for key, stored in edit["layers"].items():
        layer = layer_of(network, key)
        replace_layer(network, layer, weight_layer(layer, stored["format"], stored["group"]))


def simulate_quantization(network: nn.Module, edit: Edit) -> None:
    """Put the simulating counterpart in the place of each layer of `layers`.

    It holds the fields of `Rounding`, or those of `WeightRounding`, which has a `format`.
    """
    for key, fields in edit["layers"].items():
        layer = layer_of(network, key)
        rounding = WeightRounding(**fields) if "format" in fields else Rounding(**fields)
        replace_layer(network, layer, fake_quantized(layer, rounding))


def stop_simulating(network: nn.Module, edit: Edit) -> None:
    """Put the float counterpart in the place of each simulating layer of `keys`."""
    for key in edit["keys"]:
        layer = layer_of(network, key)
        replace_layer(network, layer, float_layer(layer))


KINDS: dict[str, Callable[[nn.Module, Edit], object]] = {
    "mask": add_masks,
    "fold_batch_norm": fold_batch_norms,
    "integers": replace_by_integers,
    "weights": store_weights,
    "fake_quantize": simulate_quantization,
    "float": stop_simulating,
    "channels": cut_channels,
    "factors": make_factors,
    "merge_tokens": merge_tokens,
    "permute": permute_inputs,
}


SHAPES: dict[str, Callable[[nn.Module, Edit], object]] = {**KINDS, "factors": shape_factors}
"""The same for networks whose values are filled in afterwards: values that take long to compute are not."""


def replay(network: nn.Module, edits: list[Edit], values: bool = True) -> nn.Module:
    """Apply edits in order, in place. Raises `PruneryError` for a kind this version does not know.

    Without `values` the shapes alone count: the network's values are to be overwritten.
    """
    kinds = KINDS if values else SHAPES
    for edit in edits:
        if edit.get("edit") not in KINDS:
            kind = edit.get("edit")
            raise PruneryError(f"the checkpoint holds an edit of kind {kind!r}, unknown to this Prunery: update it")
        kinds[edit["edit"]](network, edit)
    return network


def mask_edit(keys: list[str]) -> Edit:
    """The edit that gives these weights masks."""
    return {"edit": "mask", "keys": sorted(keys)}


def integers_edit(keys: list[str], bits: int = 8) -> Edit:
    """The edit that lets the layers of these weights compute in integers."""
    return {"edit": "integers", "keys": sorted(keys), **({} if bits == 8 else {"bits": bits})}


def weights_edit(plans: Mapping[str, WeightPlan]) -> Edit:
    """The edit that stores weights in the formats of their plans."""
    layers = {key: {"format": plans[key].format, "group": plans[key].group} for key in sorted(plans)}
    return {"edit": "weights", "layers": layers}


def permute_edit(keys: list[str]) -> Edit:
    """The edit that lets the layers of these weights gather their inputs in an order of their own."""
    return {"edit": "permute", "keys": sorted(keys)}


def fold_edit(pairs: list[Pair]) -> Edit:
    """The edit that folds these batch norms into the layers before them."""
    return {"edit": "fold_batch_norm", "pairs": [list(pair) for pair in pairs]}


def fake_quantize_edit(roundings: Mapping[str, Rounding | WeightRounding]) -> Edit:
    """The edit that lets the layers of these weights simulate quantization."""
    return {"edit": "fake_quantize", "layers": {key: asdict(roundings[key]) for key in sorted(roundings)}}


def float_edit(keys: list[str]) -> Edit:
    """The edit that ends the simulation in the layers of these weights."""
    return {"edit": "float", "keys": sorted(keys)}
