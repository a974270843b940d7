"""One pass through a network in which every torch function is watched, to learn how its layers are wired."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils.hooks import RemovableHandle

FACTS: set[Any] = {
    *(getattr(Tensor, name).__get__ for name in ("shape", "dtype", "device", "ndim", "requires_grad", "_version")),
    *(getattr(Tensor, name).__get__ for name in ("is_cuda", "is_meta")),
    *(Tensor.size, Tensor.dim, Tensor.numel, Tensor.is_contiguous, Tensor.is_floating_point),
}
"""Questions about a tensor, which do not use its values."""


class Watch(TorchFunctionMode):
    """What every watch has: tensors that are known by their ids, kept alive meanwhile."""

    def __init__(self) -> None:
        super().__init__()
        self.outputs: dict[int, str] = {}
        self._alive: list[Tensor] = []

    def keep(self, value: Tensor) -> int:
        """The id of a tensor, which is its own while the watch lasts."""
        self._alive.append(value)
        return id(value)

    def used(self, func: Any, *arguments: Any) -> set[str]:
        """Whose outputs a function's arguments use."""
        if func in FACTS:
            return set()
        return {self.outputs[id(value)] for value in tensors(arguments) if id(value) in self.outputs}


def watched(network: nn.Module, example: Tensor, watch: Watch, hooks: Iterable[RemovableHandle]) -> None:
    """Run a network once, in evaluation mode, under a watch; take the hooks away and leave it as it was."""
    training = network.training
    try:
        with torch.no_grad(), watch:
            network.eval()(example)
    finally:
        network.train(training)
        for hook in hooks:
            hook.remove()


def tensors(value: Any) -> Iterator[Tensor]:
    """The tensors in nested containers."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict):
        yield from tensors(tuple(value.values()))
    elif isinstance(value, tuple | list):
        for part in value:
            yield from tensors(part)
