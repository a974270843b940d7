"""Networks as ONNX files that ONNX Runtime and OpenVINO run with integer kernels where the network holds integers."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import onnx_ir as ir
import torch
from onnxscript import opset21
from torch import Tensor, nn

from prunery import deploying, integer, stored
from prunery.deploying import ColumnsLinear, deployable
from prunery.errors import PruneryError
from prunery.layers import integer_layers
from prunery.peephole import simplify
from prunery.simulating import simulating_layers

OPSET = 21
FILE = "network.onnx"


def exported(network: nn.Module, example: Tensor, folder: Path) -> Path:
    """The network as `network.onnx` in a folder that is its own; written by whoever asks first."""
    path = folder / FILE
    return path if path.exists() else to_onnx(network, example, path)


def to_onnx(network: nn.Module, example: Tensor, path: Path, dynamic_batch: bool = False) -> Path:
    """Write the network in evaluation mode, for inputs of the example's shape; returns `path`.

    `dynamic_batch` leaves the number of samples open. Integer layers become QuantizeLinear and DequantizeLinear nodes
    around Conv and Gemm, their weights int8 initialisers. Linear layers that only store integers become Gemm behind
    DequantizeLinear, their weights int8 or int4 initialisers `[in, out]`; other stored weights are written in fp32.
    Raises `PruneryError` if the network only simulates integers, or has activations of 4 bits.
    """
    _check(network)
    if dynamic_batch and len(example) < 2:
        example = torch.cat([example, example])  # a batch of one would be taken for a constant
    exporting = deployable(network)
    shapes = ({0: torch.export.Dim.DYNAMIC},) if dynamic_batch else None
    training = network.training
    try:
        with _quiet(), torch.no_grad():
            program = torch.onnx.export(
                exporting.eval(), (example,), dynamo=True, dynamic_shapes=shapes, opset_version=OPSET, verbose=False,
                input_names=["input"], output_names=["logits"], custom_translation_table=TRANSLATIONS,
            )  # fmt: skip
    finally:
        network.train(training)
    assert program is not None
    simplify(program.model)
    _narrow(program.model, exporting)
    program.save(path)
    return path


def _check(network: nn.Module) -> None:
    for key, _ in simulating_layers(network):
        raise PruneryError(f"{key} only simulates integers and has no ONNX form: put quantize=qat behind this recipe")
    for key, layer in integer_layers(network):
        if layer.bits != 8:
            raise PruneryError(f"{key} has activations of {layer.bits} bits and no ONNX form: no runtime has kernels")


def _narrow(model: ir.Model, network: nn.Module) -> None:
    """Write weights of four bits in four bits; torch has no such type."""
    for name, layer in network.named_modules():
        if isinstance(layer, ColumnsLinear) and layer.format == "int4":
            value = model.graph.initializers[f"{name}.weight" if name else "weight"]
            assert value.const_value is not None
            narrow = value.const_value.numpy().astype(ml_dtypes.int4)
            value.const_value = ir.tensor(narrow, dtype=ir.DataType.INT4, name=value.name)
            value.dtype = ir.DataType.INT4


@contextmanager
def _quiet() -> Iterator[None]:
    """The exporter's remarks are about its own insides."""
    levels = {name: logging.getLogger(name).level for name in ("torch.onnx", "onnxscript", "onnx_ir")}
    try:
        for name in levels:
            logging.getLogger(name).setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)


def _quantize(values: Any, scale: Any, zero_point: Any) -> Any:
    return opset21.QuantizeLinear(values, scale, zero_point)


def _dequantize(integers: Any, scale: Any, zero_point: Any) -> Any:
    return opset21.DequantizeLinear(integers, scale, zero_point)


def _dequantize_channels(integers: Any, scale: Any) -> Any:
    """The zero points are spelled out: ONNX Runtime fuses Gemm only where they are."""
    zeros: Any = ir.tensor(np.zeros(integers.shape[0], np.int8), name="zero_points")
    return opset21.DequantizeLinear(integers, scale, opset21.Constant(value=zeros), axis=0)


def _dequantize_columns(integers: Any, scale: Any, group: int) -> Any:
    """Scales per column, or per block of rows of it."""
    if group:
        return opset21.DequantizeLinear(integers, scale, axis=0, block_size=group)
    return opset21.DequantizeLinear(integers, scale, axis=1)


TRANSLATIONS: Any = {
    integer.quantize_affine._opoverload: _quantize,
    integer.dequantize_affine._opoverload: _dequantize,
    stored.dequantize_channels._opoverload: _dequantize_channels,
    deploying.dequantize_columns._opoverload: _dequantize_columns,
}
"""Our operators -> how they are written in ONNX."""
