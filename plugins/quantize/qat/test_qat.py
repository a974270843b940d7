"""Integers of one layer against a loop."""

import pytest
import torch
from prunery_plugins.quantize.qat.core import plan_of

from prunery.errors import PruneryError
from prunery.fakequant import Rounding, WeightRounding
from prunery.integer import Affine
from prunery.registry import registry


def row(scale, bits=8):
    grids = {"input_scale": 0.5, "input_zero_point": 3.0, "output_scale": 0.25, "output_zero_point": 0.0}
    rounding = Rounding(bits=bits)
    return {"rounding": rounding, "weight_scale": scale, **{name: torch.tensor(value) for name, value in grids.items()}}


def test_weights_are_rounded_and_clipped():
    weight = torch.tensor([[0.0, 1.26, -1.25], [100.0, -100.0, 0.75]])
    plan = plan_of(weight, row(torch.tensor([0.5, 0.5])))
    assert plan.weight.dtype == torch.int8
    assert plan.weight.tolist() == [[0, 3, -2], [127, -128, 2]]
    assert (plan.input, plan.output) == (Affine(0.5, 3), Affine(0.25, 0))


def test_four_bits_end_sooner():
    plan = plan_of(torch.tensor([[0.0, 1.26, -1.25], [100.0, -100.0, 0.75]]), row(torch.tensor([0.5, 0.5]), bits=4))
    assert (plan.bits, plan.weight.tolist()) == (4, [[0, 3, -2], [7, -8, 2]])


def test_weights_alone_are_stored_in_the_format_they_simulated():
    weight = torch.tensor([[0.7, 0.26, -0.7], [1.4, -1.4, 0.3]])
    plan = plan_of(weight, {"rounding": WeightRounding("int4")})
    assert plan.format == "int4"
    assert plan.weight.tolist() == [[7, 3, -7], [7, -7, 2]]
    assert torch.equal(plan_of(weight, {"rounding": WeightRounding("fp16")}).weight, weight.half())


def test_other_bits_than_those_of_training_are_refused():
    weights = {"a": torch.ones(2, 2)}
    observed = {"observed": {"a": {"rounding": WeightRounding("int4")}}}
    assert registry().configured("quantize", "qat", {}, 4).plan(weights, observed)["a"].format == "int4"
    with pytest.raises(PruneryError, match="a was trained with 4 bits, not 8: leave the setting bits out"):
        registry().configured("quantize", "qat", {}, 8).plan(weights, observed)


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
