"""Small rewrites of an exported graph that change no value and let runtimes fuse."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

QUANTIZE, DEQUANTIZE = "QuantizeLinear", "DequantizeLinear"


def simplify(model: ir.Model) -> None:
    """Apply every rewrite to a model, in place."""
    for node in list(model.graph):
        if node.op_type == "Relu" and _is_rectified(node.inputs[0]):
            _replace(node, node.inputs[0])
    for node in list(model.graph):
        source = _repeated(node)
        if source is not None:
            _replace(node, source)
    for node in model.graph:
        if node.op_type == "Relu" and _reads_integers(node.inputs[0]):
            node.op_type, node.attributes["alpha"] = "LeakyRelu", ir.AttrFloat32("alpha", 0.0)
    _remove_dead(model.graph)


def _is_rectified(value: ir.Value | None) -> bool:
    """Whether a value has been rounded to a grid whose integer 0 means zero: no negative value is left for a ReLU."""
    node = _producer(value, DEQUANTIZE)
    zero = None if node is None else _constant(node, 2)
    return zero is not None and zero.dtype == np.uint8 and not zero.any()


def _reads_integers(value: ir.Value | None) -> bool:
    """Whether a value is a product with integer weights and real rows.

    ONNX Runtime (1.31) finds no kernel for one that ReLU follows and another such product then; it does if the ReLU is
    a leaky one that leaks nothing.
    """
    product = None if value is None else value.producer()
    if product is None or product.op_type not in ("Gemm", "MatMul"):
        return False
    rows, weight = (_producer(each, DEQUANTIZE) for each in product.inputs[:2])
    return weight is not None and rows is None


def _repeated(node: ir.Node) -> ir.Value | None:
    """The integers that this node would make anew out of their real values, on the same grid."""
    before = _producer(node.inputs[0], DEQUANTIZE) if node.op_type == QUANTIZE else None
    if before is None:
        return None
    for place in (1, 2):
        ours, theirs = _constant(node, place), _constant(before, place)
        if ours is None or theirs is None or ours.dtype != theirs.dtype or not np.array_equal(ours, theirs):
            return None
    return before.inputs[0]


def _producer(value: ir.Value | None, kind: str) -> ir.Node | None:
    node = None if value is None else value.producer()
    return node if node is not None and node.op_type == kind else None


def _constant(node: ir.Node, place: int) -> np.ndarray | None:
    """An input's value, if it is constant."""
    value = node.inputs[place] if len(node.inputs) > place else None
    return None if value is None or value.const_value is None else value.const_value.numpy()


def _replace(node: ir.Node, value: ir.Value | None) -> None:
    """Let whoever uses a node's output use `value`. An output of the graph stays where it is."""
    assert value is not None
    if not node.outputs[0].is_graph_output():
        node.outputs[0].replace_all_uses_with(value)


def _remove_dead(graph: ir.Graph) -> None:
    for node in reversed(list(graph)):
        if not any(output.uses() or output.is_graph_output() for output in node.outputs):
            graph.remove(node, safe=True)
