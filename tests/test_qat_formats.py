"""Training with weights that are rounded to fp16, bf16, int8 and int4: what is simulated is what is stored."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from prunery.checkpoint import Checkpoint, Origin, load, save
from prunery.fakequant import WeightRounding, fake_stored
from prunery.layers import quantized_layers
from prunery.network import build
from prunery.prune import prune
from prunery.quantize import quantize
from prunery.registry import registry
from prunery.simulating import FakeStoredConv2d, fake_quantized, float_layer, simulating_layers
from prunery.toys import measured_by, states, toy_images
from prunery.train import train

SHORT = {"epochs": 3, "batch_size": 32, "learning_rate": 0.01}
MODELS = {"mlp": {"width": 12, "depth": 2}, "cnn": {"channels": 4}}
CHOICES = [
    {"format": "fp16"},
    {"format": "bf16"},
    {"format": "int8"},
    {"format": "int4"},
    {"format": "int4", "clip": 99, "lowest": "full", "group": 16, "first_last": "bf16"},
]


def silent(line):
    pass


def trained(model="mlp", seeds=(0,), method="qat", **options) -> Checkpoint:
    architecture = registry().configured("model", model, MODELS[model])
    origin = Origin(model, architecture.recorded(), toy_images().spec)
    learner = registry().configured("train", method, {**SHORT, **options})
    return train(learner, architecture, origin, toy_images(), list(seeds), silent)[0]


def quantized(parent: Checkpoint, **options) -> Checkpoint:
    quantizer = registry().configured("quantize", "qat", options)
    return parent.child(quantize(quantizer, parent, measured_by(quantizer, parent)), {})


def logits(network):
    with torch.no_grad():
        return torch.cat([network.eval()(inputs) for inputs, _ in toy_images().batches("test", 64)])


@pytest.mark.parametrize("options", CHOICES, ids=lambda options: "-".join(map(str, options.values())))
@pytest.mark.parametrize("model", MODELS)
def test_what_is_stored_is_what_was_simulated_bit_for_bit(model, options, tmp_path):
    parent = trained(model, seeds=(0, 3), epochs=6, **options)
    child = quantized(parent)
    save(parent, tmp_path / "simulating")
    save(child, tmp_path / "stored")
    again = [load(tmp_path / name, build).networks for name in ("simulating", "stored")]
    for simulating, stored, *reloaded in zip(parent.networks, child.networks, *again, strict=True):
        formats = [layer.format for _, layer in quantized_layers(stored)]
        wanted = [options["format"]] * len(formats)
        wanted[0] = wanted[-1] = options.get("first_last", options["format"])
        assert formats == wanted
        found = logits(stored)
        assert torch.equal(found, logits(simulating))
        assert all(torch.equal(logits(network), found) for network in reloaded)
        hits = found.argmax(1) == toy_images().test.labels
        assert float(hits.float().mean()) > 0.6


def test_simulating_in_training_mode_computes_the_same():
    layer = fake_quantized(nn.Conv2d(2, 4, 3, padding=1, padding_mode="reflect"), WeightRounding("int4"))
    assert isinstance(layer, FakeStoredConv2d)
    inputs = torch.randn(1, 2, 6, 6)
    with torch.no_grad():
        wanted = layer.eval()(inputs)
    assert torch.equal(layer.train()(inputs), wanted)
    assert "format='int4'" in repr(layer)
    assert type(float_layer(layer)) is nn.Conv2d
    assert not layer._buffers


def test_gradients_pass_but_where_a_weight_is_clipped():
    weight = torch.tensor([[1.0, -10.0, 2.0, 3.0], [1.0, 0.25, 0.0, -1.0]], requires_grad=True)
    for rounding, blocked in ((WeightRounding("int4", clip=87.5), True), (WeightRounding("int4"), False)):
        weight.grad = None
        (fake_stored(weight, rounding) * torch.arange(1.0, 9).reshape(2, 4)).sum().backward()
        assert weight.grad.flatten().tolist() == [1, 0 if blocked else 2, 3, 4, 5, 6, 7, 8]
    weight.grad = None
    found = fake_stored(weight, WeightRounding("fp16"))
    assert torch.equal(found, weight.half().float())
    found.sum().backward()
    assert weight.grad.eq(1).all()


def test_a_replica_in_company_is_the_same_as_alone():
    options = {"epochs": 2, "optimizer": "sgd", "format": "int4", "clip": 99}
    together = trained(seeds=range(5), **options)
    for seed in (0, 4):
        alone = states(trained(seeds=(seed,), **options).networks[0])
        for key, value in states(together.replicas[seed].network).items():
            assert torch.allclose(value, alone[key], rtol=1e-3, atol=2e-5), key


def test_layers_in_fp32_do_not_simulate():
    parent = trained(format="int8", formats={"fc2*": "fp32"})
    assert [key for key, _ in simulating_layers(parent.networks[0])] == ["fc1.weight", "output.weight"]
    child = quantized(parent).networks[0]
    assert [key for key, _ in quantized_layers(child)] == ["fc1.weight", "output.weight"]
    assert type(child.fc2) is nn.Linear


def test_pruned_weights_stay_zero():
    pruner = registry().configured("prune", "magnitude", {"sparsity": 0.6})
    parent = trained(format="int4")
    child = quantized(parent.child(prune(pruner, parent, {}), {})).networks[0]
    for key, layer in quantized_layers(child):
        mask = states(child)[f"{key}/mask"]
        assert not mask.all()
        assert not layer.stored()[~mask].any()


def test_integers_of_four_bits_are_simulated_too():
    parent = trained(bits=4, weight_scales="channel", epochs=8)
    child = quantized(parent)
    layers = dict(quantized_layers(child.networks[0]))
    assert {(layer.format, layer.bits) for layer in layers.values()} == {("int4", 4)}
    assert child.replicas[0].edits[-1] == {"edit": "integers", "keys": sorted(layers), "bits": 4}
    wanted = logits(parent.networks[0])
    assert float((logits(child.networks[0]) - wanted).abs().max()) <= 1e-5 * float(wanted.abs().max())
    assert len(wanted.unique()) <= 16
