"""ONNX Runtime on the CPU, in floating point and in 8-bit integers."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, final

from prunery import Backend, hookimpl

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor, nn


@final
class OnnxRuntime(Backend):
    """ONNX Runtime's CPU execution provider."""

    name = "onnxruntime"
    precisions = ("fp32", "int8", "int8 weights", "int4 weights")
    imports = ("onnxruntime", "onnx_ir", "onnxscript")
    versions = ("onnxruntime", "onnxscript", "onnx-ir")

    def available(self) -> str | None:
        """Where it is installed."""
        return None if find_spec("onnxruntime") else "onnxruntime is not installed: pip install onnxruntime"

    def prepare(self, network: nn.Module, example: Tensor, folder: Path, threads: int) -> Callable[[Tensor], Tensor]:
        """A session on the exported network; see `Backend.prepare`."""
        from prunery.export import exported

        from .core import Session

        return Session(exported(network, example, folder), threads)

    def integer_share(self, run: Any, example: Tensor) -> float | None:
        """From the runtime's profile of one call; see `Backend.integer_share`."""
        from .core import integer_share

        return integer_share(run, example)


@hookimpl
def register_methods() -> list[type]:
    """The methods of this plugin."""
    return [OnnxRuntime]
