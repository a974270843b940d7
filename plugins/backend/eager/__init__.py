"""PyTorch as it is: operator by operator, on the GPU if there is one."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, final

from prunery import Backend, hookimpl

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor, nn


@final
class Eager(Backend):
    """Eager PyTorch."""

    name = "eager"
    imports = ("torch",)
    versions = ("torch",)

    def available(self) -> str | None:
        """Always."""
        return None

    def place(self, inputs: Tensor) -> Tensor:
        """On the GPU if there is one."""
        from prunery.network import device

        return inputs.to(device())

    def prepare(self, network: nn.Module, example: Tensor, folder: Path, threads: int) -> Callable[[Tensor], Tensor]:
        """A copy of the network on the device; see `Backend.prepare`."""
        from .core import eager

        return eager(network, threads)


@hookimpl
def register_methods() -> list[type]:
    """The methods of this plugin."""
    return [Eager]
