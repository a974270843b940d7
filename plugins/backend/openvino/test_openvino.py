"""Answers are the caller's to keep, precision is fp32, and integer kernels are found even in fused subgraphs."""

import pytest
import torch
from prunery_plugins.backend.openvino.core import Compiled
from torch import nn

from prunery.calibrate import calibrate
from prunery.checkpoint import Checkpoint, Origin, Replica
from prunery.export import to_onnx
from prunery.quantize import quantize
from prunery.registry import registry
from prunery.toys import toy_images


def test_an_answer_outlives_the_next_call(tmp_path):
    network, inputs = nn.Linear(4, 3).eval(), torch.randn(2, 4)
    run = Compiled(to_onnx(network, inputs, tmp_path / "network.onnx"), 1)
    first = run(inputs)
    kept = first.clone()
    run(-inputs)
    assert torch.equal(first, kept)


@torch.no_grad()
def test_floating_point_is_fp32(tmp_path):
    torch.manual_seed(0)
    network, inputs = nn.Sequential(nn.Linear(256, 256), nn.Linear(256, 8)).eval(), torch.randn(16, 256)
    run = Compiled(to_onnx(network, inputs, tmp_path / "network.onnx"), 1)
    wanted = network(inputs)
    assert float((run(inputs) - wanted).abs().max() / wanted.abs().max()) < 1e-5  # bf16 would be off by about 1e-2
    assert run.integer_share() == 0


@pytest.mark.parametrize("widths", [(64, 64), (300, 300)])  # the narrow one becomes a single generated subgraph
def test_integer_kernels_are_counted(widths, tmp_path):
    first, second = widths
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, first), nn.ReLU(), nn.Linear(first, second), nn.ReLU())
    network.append(nn.Linear(second, 4)).eval()
    parent = Checkpoint(Origin("test", {}, toy_images().spec), {0: Replica(network)})
    found = calibrate(registry().configured("calibrate", "activations", {}), parent, toy_images())
    method = registry().configured("quantize", "ptq", {"exclude": ("1.weight",)})
    child = quantize(method, parent, {0: {"activations": found[0]}})[0].network
    inputs = next(toy_images().batches("test", 4))[0]
    run = Compiled(to_onnx(child, inputs, tmp_path / "network.onnx"), 1)
    assert run.integer_share() == pytest.approx(2 / 3)
