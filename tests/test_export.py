"""Exported files: which operators they hold, and that two runtimes answer as eager does."""

from collections import Counter

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import openvino
import pytest
import torch
from torch import nn

from prunery.export import exported, to_onnx
from prunery.integer import Affine, IntegerPlan, integer_layer
from prunery.peephole import simplify


class Tokens(nn.Module):
    """Linear layers on three-dimensional inputs, a GELU between them."""

    def __init__(self):
        super().__init__()
        self.up, self.gelu, self.down = nn.Linear(6, 16), nn.GELU(), nn.Linear(16, 3, bias=False)

    def forward(self, x):
        return self.down(self.gelu(self.up(x))).flatten(1)


def quantized(network: nn.Module, inputs: torch.Tensor) -> nn.Module:
    """All Linear and Conv2d layers in integers, their grids from one batch."""
    seen = {}
    for name, layer in network.named_modules():
        if isinstance(layer, nn.Linear | nn.Conv2d):
            layer.register_forward_hook(lambda layer, args, out, name=name: seen.update({name: (args[0], out)}))
    network.eval()(inputs)
    for name, (given, out) in seen.items():
        source = network.get_submodule(name)
        rectified = isinstance(source, nn.Conv2d)
        layer, scale = integer_layer(source), source.weight.detach().flatten(1).abs().amax(1) / 127
        weight = source.weight.detach() / scale.reshape(-1, *[1] * (source.weight.dim() - 1))
        plan = IntegerPlan(weight.round().to(torch.int8), scale, grid(given), grid(out.relu() if rectified else out))
        layer.fill(plan)
        network.set_submodule(name, layer)
    return network


def grid(values: torch.Tensor) -> Affine:
    low, high = min(float(values.min()), 0.0), max(float(values.max()), 0.0)
    return Affine((high - low) / 255, round(-low * 255 / (high - low)))


def convolutional() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1, bias=False), nn.ReLU(),
        nn.MaxPool2d(2), nn.Flatten(), nn.Linear(128, 5),
    )  # fmt: skip


def make(kind: str) -> tuple[nn.Module, torch.Tensor]:
    torch.manual_seed(0)
    network, inputs = (convolutional(), torch.randn(4, 3, 8, 8)) if kind == "conv" else (Tokens(), torch.randn(4, 5, 6))
    return network.eval(), inputs


def onnx_logits(path, inputs):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options)
    return torch.from_numpy(session.run(None, {"input": inputs.numpy()})[0])


def openvino_logits(path, inputs):
    hints = {"INFERENCE_NUM_THREADS": 1, "INFERENCE_PRECISION_HINT": "f32"}
    return torch.from_numpy(openvino.Core().compile_model(path, "CPU", hints)([inputs.numpy()])[0].copy())


RUNTIMES = {"onnxruntime": onnx_logits, "openvino": openvino_logits}


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("kind", ["conv", "tokens"])
@torch.no_grad()
def test_floats_and_integers_answer_as_eager(kind, runtime, tmp_path):
    network, inputs = make(kind)
    found = RUNTIMES[runtime](to_onnx(network, inputs, tmp_path / "float.onnx"), inputs)
    assert torch.allclose(found, network(inputs), atol=1e-5)
    network = quantized(network, inputs)
    found, wanted = RUNTIMES[runtime](to_onnx(network, inputs, tmp_path / "int8.onnx"), inputs), network(inputs)
    step = float(next(reversed(list(network.children()))).get_buffer("weight/output_scale"))
    assert float((found - wanted).abs().max()) <= 1.01 * step  # one step of the last grid: a sum on the edge of two
    assert float((found - wanted).abs().mean()) < 0.1 * step


@torch.no_grad()
def test_operators_and_initialisers(tmp_path):
    network, inputs = make("conv")
    model = onnx.load(to_onnx(quantized(network, inputs), inputs, tmp_path / "n.onnx"))
    counts = Counter(node.op_type for node in model.graph.node)
    assert counts["Conv"] == 2
    assert counts["Gemm"] == 1
    assert "Relu" not in counts  # the grid of a rectified output starts at zero
    assert (counts["QuantizeLinear"], counts["DequantizeLinear"]) == (5, 8)  # one pair between the convolutions
    weights = {each.name: each for each in model.graph.initializer if each.data_type == onnx.TensorProto.INT8}
    assert {name for name in weights if name.endswith("weight")} == {"0.weight", "2.weight", "6.weight"}
    assert np.array_equal(onnx.numpy_helper.to_array(weights["2.weight"]), network[2].get_buffer("weight").numpy())
    by_channel = [node for node in model.graph.node if node.input[0] in weights]
    assert [next(a.i for a in node.attribute if a.name == "axis") for node in by_channel] == [0, 0, 0]


@torch.no_grad()
def test_every_product_runs_in_integers(tmp_path):
    for kind, wanted in (("conv", {"QLinearConv": 2, "QGemm": 1}), ("tokens", {"QGemm": 2})):
        network, inputs = make(kind)
        path = to_onnx(quantized(network, inputs), inputs, tmp_path / f"{kind}.onnx")
        options = onnxruntime.SessionOptions()
        options.optimized_model_filepath, options.log_severity_level = str(tmp_path / "optimized.onnx"), 3
        onnxruntime.InferenceSession(path, options)
        counts = Counter(node.op_type for node in onnx.load(tmp_path / "optimized.onnx").graph.node)
        assert wanted.items() <= counts.items()
        assert not counts.keys() & {"Conv", "Gemm", "MatMul", "FusedConv", "FusedGemm"}


@torch.no_grad()
def test_an_open_batch_and_the_mode(tmp_path):
    network, inputs = make("conv")
    network = quantized(network, inputs)
    path = to_onnx(network.train(), inputs[:1], tmp_path / "n.onnx", dynamic_batch=True)
    assert network.training
    for size in (1, 3):
        assert onnx_logits(path, inputs[:size]).shape == (size, 5)


def test_a_file_that_is_there_is_not_written_again(tmp_path):
    network, inputs = make("tokens")
    path = exported(network, inputs, tmp_path)
    written = path.stat().st_mtime_ns
    assert exported(network, inputs, tmp_path) == path
    assert path.stat().st_mtime_ns == written


# --- rewrites that must not happen -----------------------------------------------------------------------------------

ROUNDED = "a = QuantizeLinear(x,sc,zero) b = DequantizeLinear(a,sc,zero)"
GRAPH = """
<ir_version: 10, opset_import: ["" : 21]>
g (float[N] x, float s, float t, uint8 z) => (float[N] y)
<float sc = {0.5}, float other = {0.25}, uint8 zero = {ZERO}>
{ NODES }
"""


def operators(zero, nodes):
    model = ir.from_onnx_text(GRAPH.replace("ZERO", str(zero)).replace("NODES", nodes))
    simplify(model)
    return [node.op_type.replace("QuantizeLinear", "Q").replace("DequantizeLinear", "D") for node in model.graph]


@pytest.mark.parametrize(
    ("zero", "nodes", "wanted"),
    [
        (0, ROUNDED + " c = Relu(b) y = Neg(c)", ["Q", "D", "Neg"]),
        (
            3,
            ROUNDED + " c = Relu(b) y = Neg(c)",
            ["Q", "D", "Relu", "Neg"],
        ),
        (0, "c = Relu(x) y = Neg(c)", ["Relu", "Neg"]),
        (0, ROUNDED + " y = Relu(b)", ["Q", "D", "Relu"]),
        (
            5,
            ROUNDED + " c = QuantizeLinear(b,sc,zero) y = DequantizeLinear(c,sc,zero)",
            ["Q", "D"],
        ),
        (
            5,
            ROUNDED + " c = QuantizeLinear(b,other,zero) y = DequantizeLinear(c,other,zero)",
            ["Q", "D", "Q", "D"],
        ),
        (
            5,
            "a = QuantizeLinear(x,s,z) b = DequantizeLinear(a,s,z) c = QuantizeLinear(b,s,z)"
            " y = DequantizeLinear(c,s,z)",
            ["Q", "D", "Q", "D"],
        ),
    ],
)
def test_rewrites_happen_only_where_they_change_nothing(zero, nodes, wanted):
    assert operators(zero, nodes) == wanted
