"""PyTorch under automatic mixed precision: weights in fp32, products in bf16, on the GPU if there is one."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, final

from prunery import Backend, hookimpl

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor, nn


@final
class Autocast(Backend):
    """Eager PyTorch under `torch.autocast` to bf16."""

    name = "autocast"
    arithmetic = "bf16 autocast"
    imports = ("torch",)
    versions = ("torch",)

    def available(self) -> str | None:
        """Where the device computes in bf16."""
        from prunery.halves import without_bf16

        return without_bf16()

    def place(self, inputs: Tensor) -> Tensor:
        """On the GPU if there is one, as they are."""
        from prunery.network import device

        return inputs.to(device())

    def prepare(self, network: nn.Module, example: Tensor, folder: Path, threads: int) -> Callable[[Tensor], Tensor]:
        """A copy of the network on the device; see `Backend.prepare`."""
        from .core import autocast

        return autocast(network, threads)


@hookimpl
def register_methods() -> list[type]:
    """The methods of this plugin."""
    return [Autocast]
