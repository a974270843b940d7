"""How the layers of a network are wired, seen in one pass: where ReLU follows, and whose output a layer takes in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from prunery.layers import compressible
from prunery.watching import Watch, watched

RELU: set[Any] = {F.relu, torch.relu, torch.relu_, Tensor.relu, Tensor.relu_}
PASSED_ON: set[Any] = {
    *RELU,
    *(torch.flatten, torch.reshape, torch.permute, torch.transpose, torch.squeeze, torch.unsqueeze, F.max_pool2d),
    *(torch.index_select, Tensor.index_select),
    *(Tensor.flatten, Tensor.reshape, Tensor.permute, Tensor.transpose, Tensor.squeeze, Tensor.unsqueeze),
    *(Tensor.view, Tensor.unflatten, Tensor.contiguous, Tensor.__getitem__),
}
"""What hands on values of its input, or zeros, and makes no others: what lay on a grid still does."""


@dataclass(frozen=True)
class Wire:
    """What surrounds one layer.

    `rectified`: ReLU (module or function), and nothing else, uses every output of it. `source`: the key of the layer
    whose output is the layer's input, moved or rectified perhaps, every time it runs; None if there is no such layer.
    """

    rectified: bool
    source: str | None


def wiring(network: nn.Module, example: Tensor) -> dict[str, Wire]:
    """The wire of every compressible layer that runs as a module, by key of its weight.

    One pass in evaluation mode with a small batch, every torch function watched; the network is left as it was. An
    output that is reshaped first, or normalised, does not count as rectified.
    """
    watch, hooks = _Watch(), []
    for key, layer in compressible(network):
        hooks.append(layer.register_forward_pre_hook(watch.before(key), with_kwargs=True))
        hooks.append(layer.register_forward_hook(watch.after(key)))
    watched(network, example, watch, hooks)
    return {key: watch.wire(key) for key in watch.uses}


def rectified_layers(network: nn.Module, example: Tensor) -> set[str]:
    """Keys of the compressible layers whose every output is used by ReLU and by nothing else; see `wiring`."""
    return {key for key, wire in wiring(network, example).items() if wire.rectified}


class _Watch(Watch):
    """Notes which functions use the layers' outputs, and where the values of tensors come from."""

    def __init__(self) -> None:
        super().__init__()
        self.uses: dict[str, set[bool]] = {}
        self.sources: dict[str, set[str | None]] = {}
        self.origins: dict[int, tuple[str, int]] = {}

    def wire(self, key: str) -> Wire:
        """What was found of one layer."""
        sources = self.sources[key]
        return Wire(self.uses[key] == {True}, next(iter(sources)) if len(sources) == 1 else None)

    def before(self, key: str) -> Callable[..., None]:
        """A hook that notes where a layer's input comes from."""

        def note(layer: nn.Module, args: tuple[Tensor, ...], kwargs: dict[str, Tensor]) -> None:
            value = args[0] if args else kwargs["input"]
            self.sources.setdefault(key, set()).add(self._origin(value))

        return note

    def after(self, key: str) -> Callable[[nn.Module, Any, Tensor], None]:
        """A hook that watches a layer's output."""

        def watch(layer: nn.Module, inputs: Any, output: Tensor) -> None:
            self.outputs[id(output)] = key
            self.uses.setdefault(key, set())
            self._came_from(output, key)

        return watch

    def _came_from(self, value: Tensor, key: str) -> None:
        self.origins[self.keep(value)] = key, value._version

    def _origin(self, value: Tensor) -> str | None:
        """The layer whose output a tensor holds; none if it was written to since."""
        key, version = self.origins.get(id(value), (None, 0))
        return key if version == value._version else None

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Called in the place of every torch function."""
        kwargs = kwargs or {}
        for key in self.used(func, args, kwargs):
            self.uses[key].add(func in RELU)
        origin = self._origin(args[0]) if func in PASSED_ON and args and isinstance(args[0], Tensor) else None
        result = func(*args, **kwargs)
        if func in RELU and isinstance(result, Tensor):
            self.outputs.pop(id(result), None)  # in place: from here on the same object holds the rectified values
        if origin is not None and isinstance(result, Tensor):
            self._came_from(result, origin)
        return result
