"""What no method here compresses: weights of other layers than `Linear` and `Conv2d`, and weights that are computed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from fnmatch import fnmatchcase
from typing import Any

from torch import nn

from prunery.errors import PruneryError
from prunery.layers import COMPRESSIBLE, compressible
from prunery.sparsity import UnmatchedError

COMPUTED = "whose weight is computed: build the model without that (weight_norm, say)"
COMPRESSING = {"mask", "factors", "integers", "weights", "fake_quantize"}
"""Kinds of edits that compress the layers they name, and no others."""


def left_out(network: nn.Module) -> dict[str, str]:
    """Key of every weight that is not compressible -> what it is, in the order of definition.

    Parameters of all kinds count, biases and norms too. A weight that is computed (by `weight_norm`, say) has the key
    it would have, were it a parameter.
    """
    reached = {id(layer.get_parameter("weight")) for _, layer in compressible(network)}
    found = {}
    for name, module in network.named_modules():
        prefix = f"{name}." if name else ""
        if is_computed(module):
            kind = next(each.__name__ for each in COMPRESSIBLE if isinstance(module, each))
            found[f"{prefix}weight"] = f"a {kind} {COMPUTED}"
        for own, parameter in module._parameters.items():
            if parameter is not None and id(parameter) not in reached:
                found[prefix + own] = f"a parameter of a {type(module).__name__}"
    return found


def is_computed(module: nn.Module) -> bool:
    """Whether a `Linear` or `Conv2d` computes its weight from other parameters, as `weight_norm` lets it."""
    return isinstance(module, COMPRESSIBLE) and module._parameters.get("weight") is None


@contextmanager
def explaining(network: nn.Module, odd: Mapping[str, str] | None = None) -> Iterator[None]:
    """While it lasts, patterns of settings that name what cannot be compressed are answered with the reason.

    `odd` says of further keys what they are. Raises `PruneryError` in the place of `UnmatchedError`.
    """
    try:
        yield
    except UnmatchedError as error:
        known = {**left_out(network), **(odd or {})}
        matched = next((key for key in known if fnmatchcase(key, error.pattern)), None)
        if matched is None:
            raise
        raise PruneryError(
            f"the setting {error.setting}: {error.pattern!r} names {matched}, {known[matched]}: only weights of Linear "
            "and Conv2d are compressed, so take it out of the setting"
        ) from None


def beware(network: nn.Module, edits: Sequence[Mapping[str, Any]]) -> str | None:
    """What a user should know whose network has just been compressed by these edits: which layers were not.

    None if nothing was, or if all that is left out are embeddings, norms and parameters outside of layers.
    """
    if not COMPRESSING & {edit["edit"] for edit in edits}:
        return None
    layers = dict(_multiplying(network))
    if not layers:
        return None
    first, kind = next(iter(layers.items()))
    more = f" and {len(layers) - 1} more" if len(layers) > 1 else ""
    return f"only Linear and Conv2d layers are compressed; left as they are: {first} ({kind}){more}"


def _multiplying(network: nn.Module) -> Iterator[tuple[str, str]]:
    """(key, kind of layer) of the matrices left out that a layer multiplies its input with."""
    reached = {id(layer.get_parameter("weight")) for _, layer in compressible(network)}
    for name, module in network.named_modules():
        prefix = f"{name}." if name else ""
        if is_computed(module):
            yield f"{prefix}weight", f"{type(module).__name__}, computed"
        elif not isinstance(module, nn.Embedding):
            for own, parameter in module._parameters.items():
                if parameter is not None and "weight" in own and parameter.dim() > 1 and id(parameter) not in reached:
                    yield prefix + own, type(module).__name__
