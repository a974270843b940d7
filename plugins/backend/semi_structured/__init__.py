"""Sparse tensor cores: layers with at most two weights in every four run on NVIDIA's 2:4 kernels, in bf16."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, final

from prunery import Backend, hookimpl

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor, nn


@final
class SemiStructured(Backend):
    """PyTorch's semi-structured tensors on a CUDA GPU; layers without the pattern run dense, in bf16 too."""

    name = "semi_structured"
    arithmetic = "bf16"
    imports = ("torch",)
    versions = ("torch",)

    def available(self) -> str | None:
        """Where a GPU has sparse tensor cores and one of PyTorch's two kernel libraries computes rightly on them."""
        from .core import without_kernels

        return without_kernels()

    def place(self, inputs: Tensor) -> Tensor:
        """On the device, in bf16."""
        from prunery.halves import placed

        return placed(inputs)

    def prepare(self, network: nn.Module, example: Tensor, folder: Path, threads: int) -> Callable[[Tensor], Tensor]:
        """A copy in bf16 with compressed weights, on the faster kernel library; see `Backend.prepare`."""
        from .core import fastest

        return fastest(network, example, threads)

    def sparse_share(self, run: Any, example: Tensor) -> float | None:
        """From PyTorch's profile of one call; see `Backend.sparse_share`."""
        share: float | None = run.sparse_share(example)
        return share


@hookimpl
def register_methods() -> list[type]:
    """The methods of this plugin."""
    return [SemiStructured]
