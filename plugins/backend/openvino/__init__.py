"""OpenVINO on the CPU, in floating point and in 8-bit integers."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, final

from prunery import Backend, hookimpl

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor, nn


@final
class OpenVino(Backend):
    """OpenVINO's CPU plugin."""

    name = "openvino"
    precisions = ("fp32", "int8", "int8 weights", "int4 weights")
    imports = ("openvino", "onnx_ir", "onnxscript")
    versions = ("openvino", "onnxscript", "onnx-ir")

    def available(self) -> str | None:
        """Where it is installed."""
        return None if find_spec("openvino") else "openvino is not installed: pip install openvino"

    def prepare(self, network: nn.Module, example: Tensor, folder: Path, threads: int) -> Callable[[Tensor], Tensor]:
        """The exported network, compiled for latency; see `Backend.prepare`."""
        from prunery.export import exported

        from .core import Compiled

        return Compiled(exported(network, example, folder), threads)

    def integer_share(self, run: Any, example: Tensor) -> float | None:
        """From the compiled network's own account of its kernels; see `Backend.integer_share`."""
        return run.integer_share()


@hookimpl
def register_methods() -> list[type]:
    """The methods of this plugin."""
    return [OpenVino]
