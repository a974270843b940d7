"""Integers of one layer against a loop."""

import pytest
import torch
from prunery_plugins.quantize.qat.core import plan_of

from prunery.errors import PruneryError
from prunery.integer import Affine
from prunery.registry import registry


def row(scale):
    grids = {"input_scale": 0.5, "input_zero_point": 3.0, "output_scale": 0.25, "output_zero_point": 0.0}
    return {"weight_scale": scale, **{name: torch.tensor(value) for name, value in grids.items()}}


def test_weights_are_rounded_and_clipped():
    weight = torch.tensor([[0.0, 1.26, -1.25], [100.0, -100.0, 0.75]])
    plan = plan_of(weight, row(torch.tensor([0.5, 0.5])))
    assert plan.weight.dtype == torch.int8
    assert plan.weight.tolist() == [[0, 3, -2], [127, -128, 2]]
    assert (plan.input, plan.output) == (Affine(0.5, 3), Affine(0.25, 0))


@pytest.mark.parametrize("shape", [(5, 7), (4, 3, 2, 2)])
def test_every_channel_has_its_scale(shape):
    weight = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    scale = torch.linspace(0.01, 0.05, shape[0])
    plan = plan_of(weight, row(scale))
    for channel in range(shape[0]):
        steps = [round(value / float(scale[channel])) for value in weight[channel].flatten().tolist()]
        assert plan.weight[channel].flatten().tolist() == [min(max(step, -128), 127) for step in steps]
    assert torch.equal(plan.scale, scale)


def test_layers_that_did_not_simulate_are_left_out(caplog):
    method = registry().configured("quantize", "qat", {})
    weights = {"seen": torch.ones(2, 2), "unseen": torch.ones(2, 2)}
    with caplog.at_level("WARNING", "prunery"):
        assert list(method.plan(weights, {"observed": {"seen": row(torch.ones(2))}})) == ["seen"]
    assert "leaves in floating point what did not simulate: unseen" in caplog.text
    with pytest.raises(PruneryError, match="put finetune=qat before it, or train the base with qat"):
        method.plan(weights, {})
