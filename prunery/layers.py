"""Which weights can be compressed, under which key, and as which matrix: the only place that walks a network."""

from __future__ import annotations

from collections.abc import Iterator

from jaxtyping import Float
from torch import Tensor, nn

from prunery.errors import PruneryError
from prunery.integer import IntegerConv2d, IntegerLinear
from prunery.permuting import hand_on
from prunery.stored import StoredWeight

COMPRESSIBLE = (nn.Linear, nn.Conv2d)


def compressible(network: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """(key of the weight, layer) of every `Linear` and `Conv2d` in floating point, in the order of definition.

    Shared weights appear once, under their first name. Left out are weights that are no parameters, but computed from
    others (`torch.nn.utils.parametrizations.weight_norm`); see `prunery.leftout`.
    """
    seen: set[int] = set()
    for name, layer in network.named_modules():
        weight = layer._parameters.get("weight") if isinstance(layer, COMPRESSIBLE) else None
        if weight is not None and id(weight) not in seen:
            seen.add(id(weight))
            yield f"{name}.weight" if name else "weight", layer


def is_plain(layer: nn.Module) -> bool:
    """Whether a layer computes what its class is known for, and not a forward of its own (timm's `Conv2dSame`)."""
    return type(layer).forward in (nn.Linear.forward, nn.Conv2d.forward)


def weights(network: nn.Module) -> dict[str, Float[Tensor, "out ..."]]:
    """The compressible weights by key, detached."""
    return {key: layer.weight.detach() for key, layer in compressible(network)}  # type: ignore[union-attr, operator]


def integer_layers(network: nn.Module) -> Iterator[tuple[str, IntegerLinear | IntegerConv2d]]:
    """(key of the weight, layer) of every layer that computes in integers."""
    for name, layer in network.named_modules():
        if isinstance(layer, IntegerLinear | IntegerConv2d):
            yield f"{name}.weight", layer


def quantized_layers(network: nn.Module) -> Iterator[tuple[str, StoredWeight]]:
    """(key of the weight, layer) of every layer that was quantized, with its activations or without."""
    for name, layer in network.named_modules():
        if isinstance(layer, StoredWeight):
            yield f"{name}.weight" if name else "weight", layer


def as_matrix(weight: Float[Tensor, "out ..."]) -> Float[Tensor, "out columns"]:
    """A weight as `[out, in]` or, for convolutions, `[out, in * kh * kw]`."""
    return weight.reshape(weight.shape[0], -1)


def layer_of(network: nn.Module, key: str) -> nn.Module:
    """The layer that owns the parameter `key`."""
    return network.get_submodule(key.rpartition(".")[0])


def copyable(network: nn.Module) -> nn.Module:
    """The network. Raises `PruneryError` for one that cannot be copied, as a hook computes a layer's weight."""
    for name, layer in network.named_modules():
        for attribute, value in vars(layer).items():
            if isinstance(value, Tensor) and not value.is_leaf:
                raise PruneryError(
                    f"the model computes {name}.{attribute} by a hook, as torch.nn.utils.weight_norm does, and cannot "
                    "be copied so: build it with torch.nn.utils.parametrizations.weight_norm, or without"
                )
    return network


def replace_layer(network: nn.Module, old: nn.Module, new: nn.Module) -> None:
    """Put a layer in the place of another, wherever the network refers to it; it reads its inputs in the same order."""
    hand_on(old, new)
    for owner in list(network.modules()):
        for name, child in list(owner._modules.items()):
            if child is old:
                setattr(owner, name, new)
