"""Replicas side by side compute what each computes alone."""

from __future__ import annotations

from copy import deepcopy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from prunery.chains import Chain, conv2d, linear
from prunery.checkpoint import Origin
from prunery.edits import add_masks, mask_edit
from prunery.network import architecture
from prunery.programs import ensembles
from prunery.replicas import Single
from prunery.stacked import Stacked, alike
from prunery.toys import toy_images

CPU = torch.device("cpu")
MODELS = [("mlp", {"width": 12, "depth": 2}), ("cnn", {}), ("vit", {})]


def built(model: str, settings: dict, count: int = 3) -> list[nn.Module]:
    origin = Origin(model, settings, toy_images().spec)
    torch.manual_seed(0)
    return [architecture(origin).build(origin.spec) for _ in range(count)]


def batch_for(replicas: int) -> torch.Tensor:
    return torch.randn(replicas, 5, 1, 8, 8, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(("model", "settings"), MODELS)
def test_a_stack_computes_what_its_networks_compute(model, settings):
    networks, inputs = built(model, settings), batch_for(3)
    stack = Stacked(networks, CPU)
    alone = torch.stack([network(part) for network, part in zip(networks, inputs, strict=True)])
    assert torch.allclose(stack.forward(inputs), alone, atol=1e-5)
    assert stack.forward(inputs).shape == (3, 5, 4)


@pytest.mark.parametrize(("model", "settings"), MODELS)
def test_a_stack_has_the_gradients_of_its_networks(model, settings):
    networks, inputs = built(model, settings), batch_for(3)
    stack = Stacked(networks, CPU)
    stack.forward(inputs).square().sum().backward()
    for row, network in enumerate(networks):
        network(inputs[row]).square().sum().backward()
        for key, value in network.named_parameters():
            assert torch.allclose(stack.parameters[key].grad[row], value.grad, rtol=1e-4, atol=1e-4), key


def test_plain_chains_are_recognised_and_nothing_else():
    assert Chain.of(built("mlp", {})[0]) is not None
    assert Chain.of(built("vit", {})[0]) is None
    assert Chain.of(nn.Sequential(nn.Linear(2, 2), nn.Dropout())) is None
    shared = nn.Linear(2, 2)
    assert Chain.of(nn.Sequential(shared, nn.ReLU(), shared)) is None


def test_a_chain_of_every_kind_of_layer_agrees_with_its_network():
    def make() -> nn.Sequential:
        features = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.GELU(), nn.MaxPool2d(2), nn.AvgPool2d(2))
        return nn.Sequential(features, nn.Flatten(), nn.Linear(16, 6, bias=False), nn.Tanh(), nn.Linear(6, 3))

    networks, inputs = [make() for _ in range(2)], batch_for(2)
    stack = Stacked(networks, CPU)
    assert stack._chain is not None
    alone = torch.stack([network(part) for network, part in zip(networks, inputs, strict=True)])
    assert torch.allclose(stack.forward(inputs), alone, atol=1e-6)


@pytest.mark.parametrize("options", [{"stride": 2}, {"padding": 1, "dilation": 2}, {"groups": 2, "padding": "same"}])
def test_convolutions_of_replicas(options):
    inputs, weight, bias = (
        torch.randn(3, 2, 4, 9, 9),
        torch.randn(3, 6, 4 // options.get("groups", 1), 3, 3),
        torch.randn(3, 6),
    )
    naive = torch.stack([F.conv2d(inputs[row], weight[row], bias[row], **options) for row in range(3)])
    assert torch.allclose(conv2d(inputs, weight, bias, **options), naive, atol=1e-4)


def test_linear_maps_of_replicas_on_tokens():
    inputs, weight, bias = torch.randn(3, 2, 7, 4), torch.randn(3, 6, 4), torch.randn(3, 6)
    naive = torch.stack([F.linear(inputs[row], weight[row], bias[row]) for row in range(3)])
    assert torch.allclose(linear(inputs, weight, bias), naive, atol=1e-5)


def test_different_structures_are_looped():
    small, large = built("mlp", {"width": 3})[0], built("mlp", {"width": 4})[0]
    assert not alike([small, large])
    assert [type(one) for one in ensembles([small, large], True, CPU)] == [Single, Single]
    assert not alike([nn.Sequential(nn.Linear(2, 2), nn.ReLU()), nn.Sequential(nn.Linear(2, 2), nn.Tanh())])
    assert [type(one) for one in ensembles([small, deepcopy(small)], False, CPU)] == [Single, Single]
    assert [type(one) for one in ensembles([small, deepcopy(small)], True, CPU)] == [Stacked]


def test_only_remembered_values_are_written_back():
    networks = built("mlp", {})
    before = [deepcopy(network.state_dict()) for network in networks]
    stack = Stacked(networks, CPU)
    stack.remember(range(3))
    with torch.no_grad():
        stack.parameters["fc1.weight"].add_(1)
    stack.remember([0, 2])
    with torch.no_grad():
        stack.parameters["fc1.weight"].add_(1)
    stack.write_back()
    moved = [
        float((n.state_dict()["fc1.weight"] - b["fc1.weight"]).mean()) for n, b in zip(networks, before, strict=True)
    ]
    assert moved == pytest.approx([1, 0, 1], abs=1e-5)


def test_replicas_that_leave_are_forgotten():
    networks, inputs = built("cnn", {}), batch_for(3)
    stack = Stacked(networks, CPU)
    whole = stack.forward(inputs)
    stack.remember(range(3))
    stack.keep([0, 2])
    assert len(stack) == 2
    assert torch.allclose(stack.forward(inputs[[0, 2]]), whole[[0, 2]], atol=1e-6)
    with torch.no_grad():
        list(stack.parameters.values())[-1].fill_(7)
    stack.remember([1])
    stack.write_back()
    assert list(networks[2].parameters())[-1].unique().tolist() == [7]
    assert list(networks[1].parameters())[-1].unique().tolist() != [7]


@pytest.mark.parametrize("kind", [Single, Stacked])
def test_gradients_are_clipped_replica_by_replica(kind):
    networks = built("mlp", {}, count=1 if kind is Single else 3)
    reference = [deepcopy(network) for network in networks]
    ensemble = Single(networks[0], CPU) if kind is Single else Stacked(networks, CPU)
    scale = torch.tensor([100.0, 1e-3, 1.0])[: len(networks), None, None]
    inputs = batch_for(len(networks))
    (ensemble.forward(inputs) * scale).sum().backward()
    ensemble.clip_gradients(0.5)
    for row, network in enumerate(reference):
        (network(inputs[row]) * scale[row]).sum().backward()
        nn.utils.clip_grad_norm_(network.parameters(), 0.5)
        for key, value in network.named_parameters():
            assert torch.allclose(ensemble.by_replica(ensemble.parameters[key].grad)[row], value.grad, atol=1e-6)


@pytest.mark.parametrize("kind", [Single, Stacked])
def test_masks_hold_gradients_and_weights_at_zero(kind):
    networks = built("mlp", {}, count=1 if kind is Single else 2)
    for network in networks:
        add_masks(network, mask_edit(["fc1.weight"]))
        network.fc1.get_buffer("weight/mask")[:, ::2] = False
    ensemble = Single(networks[0], CPU) if kind is Single else Stacked(networks, CPU)
    ensemble.forward(batch_for(len(networks))).square().sum().backward()
    ensemble.mask_gradients()
    ensemble.mask_weights()
    gradient = ensemble.by_replica(ensemble.parameters["fc1.weight"].grad)
    weight = ensemble.by_replica(ensemble.parameters["fc1.weight"])
    assert (gradient[..., ::2] == 0).all()
    assert (weight[..., ::2] == 0).all()
    assert (gradient[..., 1::2] != 0).any()
    assert (weight[..., 1::2] != 0).all()
