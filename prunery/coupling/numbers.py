"""Numbers that modules remember: heads, widths, groups, normalised shapes; and what they become.

A number that code hands on as a size (`x.view(batch, tokens, self.heads, self.width)`) is known by the view it shaped:
once channels are gone, it is what that axis of the view still holds.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import torch
from jaxtyping import Int
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd
from torch.overrides import TorchFunctionMode

from prunery.coupling.labels import varies
from prunery.coupling.ledger import Ledger


class Number(int):
    """An integer that knows which attribute of which module holds it."""

    module: str
    attribute: str


class Use(NamedTuple):
    """An attribute that was the size of an axis of a labelled value."""

    module: str
    attribute: str
    label: Int[Tensor, "..."]
    axis: int


def tell_numbers(network: nn.Module) -> None:
    """Let the integers that modules hold know where they stand, in place."""
    for name, module in network.named_modules():
        for attribute, value in vars(module).items():
            if type(value) is int:
                number = Number(value)
                number.module, number.attribute = name, attribute
                module.__dict__[attribute] = number


class WatchSizes(TorchFunctionMode):
    """Notes which attributes shape labelled values."""

    def __init__(self, ledger: Ledger) -> None:
        super().__init__()
        self.ledger = ledger
        self.uses: list[Use] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Called in the place of every torch function."""
        result = func(*args, **(kwargs or {}))
        for value, axis, number in _sizes(getattr(func, "__name__", ""), args, kwargs or {}, result):
            label = self.ledger.label(value)
            if isinstance(label, Tensor):
                self.uses.append(Use(number.module, number.attribute, label, axis))
        return result


def _sizes(name: str, args: Any, kwargs: Any, result: Any) -> Iterator[tuple[Tensor, int, Number]]:
    """(value, axis, number) wherever a number is the size of an axis of a value that a call returned."""
    if name in ("view", "reshape"):
        shape = args[1] if len(args) > 1 and isinstance(args[1], tuple | list) else args[1:]
        yield from ((result, axis, size) for axis, size in enumerate(shape) if isinstance(size, Number))
    elif name == "unflatten" and len(args) > 2:
        first = args[1] % args[0].dim()
        yield from ((result, first + axis, size) for axis, size in enumerate(args[2]) if isinstance(size, Number))
    elif name in ("split", "tensor_split") and len(args) > 1 and isinstance(args[1], Number):
        axis = args[2] if len(args) > 2 else kwargs.get("dim", 0)
        yield result[0], axis % args[0].dim(), args[1]
    elif name == "__getitem__":
        yield from _slices(args[1] if isinstance(args[1], tuple) else (args[1],), result)


def _slices(index: tuple[Any, ...], result: Tensor) -> Iterator[tuple[Tensor, int, Number]]:
    """The slices up to a number; behind a tensor it is not known which axis a slice makes."""
    axis = 0
    for place, part in enumerate(index):
        if part is Ellipsis:
            axis = result.dim() - sum(not isinstance(after, int) for after in index[place + 1 :])
        elif isinstance(part, slice):
            if isinstance(part.stop, Number) and not part.start:
                yield result, axis, part.stop
            axis += 1
        elif part is None:
            axis += 1
        elif not isinstance(part, int):
            return


def sizes_after(ledger: Ledger, uses: list[Use], gone: Tensor) -> dict[str, dict[str, int]]:
    """Module -> attribute -> its value once the units `gone` are; only of those that change.

    Raises `ValueError` if one attribute would have to be two numbers.
    """
    found: dict[tuple[str, str], set[int]] = {}
    changed: dict[str, dict[str, int]] = {}
    for use in uses:
        roots = ledger.atoms.roots(use.label)
        if not varies(roots, use.axis):
            continue
        alive = ~torch.isin(roots, gone)
        size = sum(bool(part.any()) for part in alive.unbind(use.axis))
        found.setdefault((use.module, use.attribute), set()).add(size)
        if size != roots.shape[use.axis]:
            changed.setdefault(use.module, {})[use.attribute] = size
    for (module, attribute), values in found.items():
        if len(values) > 1:
            raise ValueError(f"{module}.{attribute} would have to be {' and '.join(map(str, sorted(values)))}")
    return changed


def layer_numbers(layer: nn.Module, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Any]:
    """What an ordinary layer remembers of its tensors, whose shapes are about to be these (by name in the layer)."""
    size = shapes.get("weight")
    if size is None:
        return {}
    if isinstance(layer, nn.Linear):
        return {"out_features": size[0], "in_features": size[1]}
    if isinstance(layer, _ConvNd):
        return _conv_numbers(layer, size)
    if isinstance(layer, _BatchNorm):
        return {"num_features": size[0]}
    if isinstance(layer, nn.LayerNorm):
        return {"normalized_shape": list(size)}
    if isinstance(layer, nn.GroupNorm):
        width = 1 if layer.num_groups == 1 else layer.num_channels // layer.num_groups
        groups = 1 if layer.num_groups == 1 else size[0] // width
        return {"num_channels": size[0], "num_groups": groups}
    if isinstance(layer, nn.Embedding):
        return {"embedding_dim": size[1]}
    return {}


def _conv_numbers(layer: _ConvNd, size: tuple[int, ...]) -> dict[str, Any]:
    out, into = (size[1], size[0]) if layer.transposed else size[:2]
    groups = 1 if layer.groups == 1 else layer.groups * size[0] // layer.weight.shape[0]
    return {"out_channels": out, "in_channels": into * groups, "groups": groups}
