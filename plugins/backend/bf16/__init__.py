"""PyTorch in bf16: the whole network cast, operator by operator, on the GPU if there is one."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, final

from prunery import Backend, hookimpl

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor, nn


@final
class Bf16(Backend):
    """Eager PyTorch with weights and activations in bf16."""

    name = "bf16"
    arithmetic = "bf16"
    imports = ("torch",)
    versions = ("torch",)

    def available(self) -> str | None:
        """Where the device computes in bf16."""
        from prunery.halves import without_bf16

        return without_bf16()

    def place(self, inputs: Tensor) -> Tensor:
        """On the device, in bf16."""
        from prunery.halves import placed

        return placed(inputs)

    def prepare(self, network: nn.Module, example: Tensor, folder: Path, threads: int) -> Callable[[Tensor], Tensor]:
        """A copy of the network, cast; see `Backend.prepare`."""
        from prunery.halves import cast, running

        return running(cast(network), threads)


@hookimpl
def register_methods() -> list[type]:
    """The methods of this plugin."""
    return [Bf16]
