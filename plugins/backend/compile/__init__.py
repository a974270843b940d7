"""PyTorch's compiler: TorchInductor with frozen weights, on the GPU if there is one."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from typing import TYPE_CHECKING, final

from prunery import Backend, hookimpl

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor, nn


@final
class Compile(Backend):
    """`torch.compile`."""

    name = "compile"
    imports = ("torch", "torch._inductor.compile_fx")
    versions = ("torch",)

    def available(self) -> str | None:
        """Where there is a C++ compiler: generated kernels are built by it, launchers of GPU kernels too."""
        if any(map(shutil.which, (os.environ.get("CXX", "g++"), "clang++"))):
            return None
        return "no C++ compiler: install g++ or clang++, or name one in CXX"

    def place(self, inputs: Tensor) -> Tensor:
        """On the GPU if there is one."""
        from prunery.network import device

        return inputs.to(device())

    def prepare(self, network: nn.Module, example: Tensor, folder: Path, threads: int) -> Callable[[Tensor], Tensor]:
        """The network, compiled by running the example once; see `Backend.prepare`."""
        from .core import compiled

        return compiled(network, example, threads)


@hookimpl
def register_methods() -> list[type]:
    """The methods of this plugin."""
    return [Compile]
