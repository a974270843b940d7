"""Which layers' outputs go straight into a ReLU and nowhere else."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils.hooks import RemovableHandle

from prunery.layers import compressible

RELU = {F.relu, torch.relu, torch.relu_, Tensor.relu, Tensor.relu_}
FACTS: set[Any] = {
    *(getattr(Tensor, name).__get__ for name in ("shape", "dtype", "device", "ndim", "requires_grad", "is_cuda")),
    *(Tensor.size, Tensor.dim, Tensor.numel, Tensor.is_contiguous, Tensor.is_floating_point),
}
"""Questions about a tensor, which do not use its values."""


def rectified_layers(network: nn.Module, example: Tensor) -> set[str]:
    """Keys of the compressible layers whose every output is used by ReLU (module or function) and by nothing else.

    One pass with a small batch, every torch function watched. An output that is reshaped first, or normalised, counts
    as used elsewhere.
    """
    watch = _Watch()
    handles = [layer.register_forward_hook(watch.hook(key)) for key, layer in compressible(network)]
    try:
        with torch.no_grad(), watch:
            network(example)
    finally:
        _remove(handles)
    return {key for key, uses in watch.uses.items() if uses == {True}}


def _remove(handles: list[RemovableHandle]) -> None:
    for handle in handles:
        handle.remove()


class _Watch(TorchFunctionMode):
    """Notes for each watched tensor whether ReLU used it (True) and whether anything else did (False)."""

    def __init__(self) -> None:
        super().__init__()
        self.uses: dict[str, set[bool]] = {}
        self.keys: dict[int, str] = {}
        self.alive: list[Tensor] = []

    def hook(self, key: str) -> Callable[[nn.Module, Any, Tensor], None]:
        """A forward hook that watches this layer's output."""

        def watch(layer: nn.Module, inputs: Any, output: Tensor) -> None:
            self.keys[id(output)] = key
            self.alive.append(output)  # an id is unique only while its object lives
            self.uses.setdefault(key, set())

        return watch

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Called in the place of every torch function."""
        kwargs = kwargs or {}
        if func not in FACTS:
            for tensor in _tensors((args, kwargs)):
                if id(tensor) in self.keys:
                    self.uses[self.keys[id(tensor)]].add(func in RELU)
        result = func(*args, **kwargs)
        if func in RELU and isinstance(result, Tensor):
            self.keys.pop(id(result), None)  # in place: from here on the same object holds the rectified values
        return result


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict):
        yield from _tensors(tuple(value.values()))
    elif isinstance(value, tuple | list):
        for part in value:
            yield from _tensors(part)
