"""Compiled networks, and what they say of their kernels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import openvino
import torch
from torch import Tensor

COMPUTE = {"Convolution", "GroupConvolution", "Deconvolution", "FullyConnected", "MatMul", "GatherMatmul",
           "ScaledDotProductAttention", "ScaledAttn", "MHA"}  # fmt: skip
"""Layer types that are convolutions or matrix products."""
NARROW = {"i8", "u8", "i4", "u4"}
"""What a FullyConnected layer's precision is called when its kernel reads integer weights."""


class Compiled:
    """A network in OpenVINO; call it with a batch of the exported shape.

    Floating point is held to fp32: where the processor can, OpenVINO would otherwise compute in bf16, and an "fp32"
    reference would be a faster one of another precision.
    """

    def __init__(self, path: Path, threads: int) -> None:
        self.path = path
        self.hints: dict[str, Any] = {
            "PERFORMANCE_HINT": "LATENCY",
            "NUM_STREAMS": 1,
            "INFERENCE_NUM_THREADS": threads,
            "INFERENCE_PRECISION_HINT": "f32",
            "DYNAMIC_QUANTIZATION_GROUP_SIZE": 32,  # rows that meet integer weights are rounded to int8 per group
        }
        self.request = openvino.Core().compile_model(path, "CPU", self.hints).create_infer_request()

    def __call__(self, inputs: Tensor) -> Tensor:
        """Logits."""
        results = self.request.infer([inputs.numpy()], share_inputs=True, share_outputs=True)
        return torch.from_numpy(results[0].copy())  # the request writes its next answer to the same memory

    def integer_share(self) -> float | None:
        """Share of integer kernels among the compute operators of the graph that runs; None if it has none.

        Generated subgraphs hide which products they contain, and in which precision. That was decided before they are
        formed, so the network is compiled once more without them and its kernels are counted there.
        """
        visible = openvino.Core().compile_model(self.path, "CPU", {**self.hints, "SNIPPETS_MODE": "DISABLE"})
        facts = [node.get_rt_info() for node in visible.get_runtime_model().get_ordered_ops()]
        kernels = [_is_integer(fact) for fact in facts if _fact(fact, "layerType") in COMPUTE]
        return sum(kernels) / len(kernels) if kernels else None


def _is_integer(facts: Any) -> bool:
    """Whether a kernel works in integers, or reads integer weights."""
    if _fact(facts, "primitiveType").upper().endswith("_I8"):
        return True
    return _fact(facts, "layerType") == "FullyConnected" and _fact(facts, "runtimePrecision") in NARROW


def _fact(facts: Any, name: str) -> str:
    return str(facts[name].value)
