"""What a profile says, and that profiling leaves no trace in the timed session."""

import torch
from prunery_plugins.backend.onnxruntime.core import Session, integer_share, share_of
from torch import nn

from prunery.export import to_onnx


def event(operator, name="node_kernel_time", cat="Node"):
    return {"cat": cat, "name": name, "args": {"op_name": operator}}


def test_the_share_counts_compute_operators_alone():
    events = [event("QLinearConv"), event("QGemm"), event("MatMul"), event("Conv"), event("Relu"), event("Softmax")]
    events += [event("QGemm", "node_fence_before"), {"cat": "Session", "name": "model_run", "args": {}}]
    assert share_of(events) == 0.5
    assert share_of([event("Relu")]) is None


def test_floats_have_a_share_of_nothing(tmp_path):
    network = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2)).eval()
    inputs = torch.randn(2, 4)
    session = Session(to_onnx(network, inputs, tmp_path / "network.onnx"), 1)
    assert integer_share(session, inputs) == 0
    assert torch.allclose(session(inputs), network(inputs), atol=1e-6)
    assert len(list(tmp_path.glob("profile*"))) == 1
