"""Sessions, and what their profiles say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import onnxruntime
import torch
from torch import Tensor

INTEGER = {"QLinearConv", "QLinearMatMul", "QGemm", "ConvInteger", "MatMulInteger", "MatMulIntegerToFloat",
           "DynamicQuantizeMatMul", "MatMulNBits", "QAttention"}  # fmt: skip
FLOAT = {"Conv", "FusedConv", "NhwcFusedConv", "ConvTranspose", "MatMul", "FusedMatMul", "Gemm", "FusedGemm",
         "Attention", "MultiHeadAttention", "Einsum"}  # fmt: skip
"""Compute operators by the precision their kernels work in."""
ERRORS_ONLY = 3
ENTRIES = {
    "session.force_spinning_stop": "1",  # else it takes a core from the next one
    "session.qdq_matmulnbits_accuracy_level": "4",  # rows are rounded to int8 per block: the kernel that is fast
    "session.qdq_matmulnbits_block_size": "128",  # of weights with one scale per column
}


class Session:
    """A network in ONNX Runtime; call it with a batch of the exported shape."""

    def __init__(self, path: Path, threads: int, profile: Path | None = None) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        options.log_severity_level = ERRORS_ONLY
        for name, value in ENTRIES.items():
            options.add_session_config_entry(name, value)
        if profile is not None:
            options.enable_profiling, options.profile_file_prefix = True, str(profile)
        self.path, self.threads = path, threads
        self.session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        self.input = self.session.get_inputs()[0].name

    def __call__(self, inputs: Tensor) -> Tensor:
        """Logits."""
        return torch.from_numpy(self.session.run(None, {self.input: inputs.numpy()})[0])


def integer_share(run: Session, example: Tensor) -> float | None:
    """Share of integer operators among the compute operators that a call runs; None if it runs none.

    Profiling slows a session down, so the call is repeated in one of its own.
    """
    profiled = Session(run.path, run.threads, run.path.with_name("profile"))
    profiled(example)
    file = Path(profiled.session.end_profiling())
    return share_of(json.loads(file.read_text(encoding="utf-8")))


def share_of(events: list[dict[str, Any]]) -> float | None:
    """The share, from a profile's events: each run of a kernel is one, with its operator's name."""
    kernels = [event for event in events if event["cat"] == "Node" and event["name"].endswith("_kernel_time")]
    names = [event["args"]["op_name"] for event in kernels]
    integers, floats = (sum(name in kind for name in names) for kind in (INTEGER, FLOAT))
    return integers / (integers + floats) if integers + floats else None
