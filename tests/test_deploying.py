"""Stored weights in runtimes: what the exported file holds, that its answers are eager's, and what bench says of it."""

from collections import Counter

import onnx
import pytest
import torch
from torch import nn

from prunery import PruneryError
from prunery.bench import bench
from prunery.checkpoint import Checkpoint, Origin, Replica
from prunery.deploying import ColumnsLinear, deployable
from prunery.export import to_onnx
from prunery.precisions import kernels, precision
from prunery.quantize import quantize
from prunery.registry import registry
from prunery.toys import measured_by, same_states, states, toy_checkpoint, toy_images

RUNTIMES = ("onnxruntime", "openvino")


class Convolutional(nn.Module):
    """Convolutions of several kinds and linear layers with a ragged number of inputs, over images of 8 x 8."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(1, 4, 3, padding=1, padding_mode="reflect")
        self.second = nn.Conv2d(4, 6, 3, stride=2, groups=2, bias=False)
        self.up, self.head = nn.Linear(54, 70), nn.Linear(70, 4, bias=False)

    def forward(self, images):
        return self.head(self.up(self.second(self.first(images).relu()).relu().flatten(1)).relu())


def checkpoint(seed: int = 0) -> Checkpoint:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = Convolutional().eval()
    return Checkpoint(Origin("test", {}, toy_images().spec), {0: Replica(network)})


def quantized(parent: Checkpoint, method: str = "weights", **settings) -> Checkpoint:
    quantizer = registry().configured("quantize", method, settings)
    return parent.child(quantize(quantizer, parent, measured_by(quantizer, parent)), {})


INPUTS = next(toy_images().batches("test", 8))[0]


@pytest.mark.parametrize("settings", [{"format": "int8"}, {"format": "int4"}, {"format": "int4", "group": 32}])
@torch.no_grad()
def test_a_copy_in_deployable_form_computes_the_same(settings):
    network = quantized(checkpoint(), **settings).networks[0]
    before = states(network)
    made = deployable(network)
    assert isinstance(made.up, ColumnsLinear)
    assert type(made.first) is nn.Conv2d
    assert made.first.padding_mode == "reflect"
    assert torch.allclose(made(INPUTS), network(INPUTS), atol=1e-6)
    assert same_states(states(network), before)
    plain = checkpoint().networks[0]
    assert deployable(plain) is plain


@pytest.mark.parametrize(
    ("settings", "kind", "scales"),
    [
        ({"format": "int8"}, onnx.TensorProto.INT8, [70]),
        ({"format": "int4"}, onnx.TensorProto.INT4, [70]),
        ({"format": "int4", "group": 16}, onnx.TensorProto.INT4, [4, 70]),
    ],
)
def test_the_file_holds_integers_by_column(settings, kind, scales, tmp_path):
    network = quantized(checkpoint(), **settings).networks[0]
    model = onnx.load(to_onnx(network, INPUTS, tmp_path / "n.onnx"))
    onnx.checker.check_model(model)
    counts = Counter(node.op_type for node in model.graph.node)
    assert (counts["Gemm"] + counts["MatMul"], counts["DequantizeLinear"], counts["Conv"]) == (2, 2, 2)
    assert (counts["Transpose"], counts["Relu"], counts["LeakyRelu"]) == (0, 2, 1)  # see `prunery.peephole`
    held = {each.name: each for each in model.graph.initializer}
    weight = held["up.weight"]
    rows = 54 if len(scales) == 1 else 64  # whole groups
    assert (weight.data_type, list(weight.dims)) == (kind, [rows, 70])
    found = torch.from_numpy(onnx.numpy_helper.to_array(weight).astype("int8"))
    assert torch.equal(found[:54], network.up.stored().T)
    assert len(weight.raw_data) == rows * 70 // (1 if kind == onnx.TensorProto.INT8 else 2)
    assert list(held["up.weight/scale"].dims) == scales
    assert held["first.weight"].data_type == onnx.TensorProto.FLOAT


def timed(network: Checkpoint, dense: Checkpoint, *names: str, **settings):
    method = registry().configured(
        "bench", "latency", {"rounds": 5, "warmup": 1, "threads": 1, "batch": 8, "agreement": 0.9, **settings}
    )
    backends = {name: registry().configured("backend", name, {}) for name in names}
    return bench(method, network, dense, toy_images(), backends, lambda line: None)["backends"]


@pytest.mark.parametrize("group", [None, 16])
@pytest.mark.parametrize("format_", ["int8", "int4"])
def test_runtimes_read_integer_weights(format_, group):
    parent = checkpoint()
    child = quantized(parent, format=format_, group=group)
    for name, found in timed(child, parent, *RUNTIMES).items():
        assert found["status"] == "ok", found
        assert found["precision"] == f"{format_} weights"
        assert (found["reference_precision"], found["kind"]) == ("fp32", "quantization")
        assert found["integer_share"] == 0.5, name  # the two linear layers, not the two convolutions
        assert found["max_error"] < 0.05
    for name, found in timed(child, parent, "eager").items():
        assert found["status"] == f"{name} has no {format_} weights kernels here"


@pytest.mark.parametrize("format_", ["fp16", "bf16"])
def test_what_is_only_stored_is_timed_and_called_so(format_):
    parent = checkpoint()
    child = quantized(parent, format=format_)
    for found in timed(child, parent, *RUNTIMES, "eager").values():
        assert found["status"] == "ok", found
        assert found["precision"] == f"fp32 ({format_} storage only)"
        assert (found["integer_share"], found["kind"]) == (None, "quantization")
        assert found["max_error"] < 1e-4
    convolutions = quantized(parent, format="int4", formats={"up*": "fp32", "head*": "fp32"})
    assert precision(convolutions.networks[0]) == "fp32 (int4 storage only)"
    assert kernels(convolutions.networks[0]) == []


def test_activations_of_four_bits_are_never_timed(tmp_path):
    parent = checkpoint()
    child = quantized(parent, "ptq", bits=4)
    for found in timed(child, parent, "eager", *RUNTIMES).values():
        assert found["status"] == "activations of 4 bits have no kernels: accuracy can be evaluated, not speed"
        assert found["precision"] == "int4"
        assert "latency_ms" not in found
    with pytest.raises(PruneryError, match=r"first\.weight has activations of 4 bits and no ONNX form"):
        to_onnx(child.networks[0], INPUTS, tmp_path / "n.onnx")


def test_mixtures_ask_for_all_their_kernels():
    parent = toy_checkpoint((0,))
    child = quantized(parent, formats={"5*": "int4", "0*": "fp16"})
    assert kernels(child.networks[0]) == ["int4 weights", "int8 weights"]
    assert precision(child.networks[0]) == "int4 weights and int8 weights"
    assert precision(quantized(parent, "ptq").networks[0]) == "int8"
    assert precision(parent.networks[0]) == "fp32"
