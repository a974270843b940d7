"""The small vision transformer: published counts, patches and attention against loops, replicas side by side."""

import math

import pytest
import torch
from prunery_plugins.model.vit.core import HeadwiseAttention, patches_of, sinusoids
from torch.func import functional_call, stack_module_state, vmap

from prunery.data import Spec
from prunery.errors import PruneryError
from prunery.layers import weights
from prunery.registry import registry
from prunery.sizes import sizes

MNIST, CIFAR, DIGITS = (Spec("image", shape, 10) for shape in ((1, 28, 28), (3, 32, 32), (1, 8, 8)))


def model(**settings):
    return registry().configured("model", "vit", settings)


def test_published_counts():
    assert sizes(model().build(MNIST), MNIST)["parameters"] == 5706
    assert sizes(model().build(CIFAR), CIFAR)["parameters"] == 6218


def test_macs_are_those_of_every_linear_map():
    block = 50 * (3 * 2 * 8 * 8 + 2 * 16 * 64)
    assert sizes(model().build(MNIST), MNIST)["macs"] == 49 * 16 * 16 + 2 * block + 160


def test_every_map_of_every_head_can_be_compressed():
    found = weights(model().build(MNIST))
    assert len(found) == 1 + 2 * (6 + 2) + 1
    assert found["blocks.1.attention.query.1.weight"].shape == (8, 8)


def test_grid_on_sides_it_does_not_divide():
    assert [patches_of(side, 7) for side in (28, 32, 8, 13, 3, 1)] == [(7, 4), (7, 4), (4, 2), (6, 2), (1, 3), (1, 1)]
    assert model().build(CIFAR).size == (28, 28)
    assert model().build(DIGITS).positions.shape == (17, 16)


def test_patches_are_cut_row_by_row():
    images = torch.randn(2, 3, 28, 28)
    found = model().build(Spec("image", (3, 28, 28), 10)).patches(images)
    wanted = [images[:, :, 4 * i : 4 * i + 4, 4 * j : 4 * j + 4].reshape(2, -1) for i in range(7) for j in range(7)]
    assert torch.equal(found, torch.stack(wanted, dim=1))


def test_positions_follow_the_formula():
    table = sinusoids(50, 16)
    for i, j in [(0, 0), (3, 4), (49, 15), (7, 1)]:
        angle = i / 10000 ** ((j - j % 2) / 16)
        assert float(table[i, j]) == pytest.approx(math.cos(angle) if j % 2 else math.sin(angle), abs=1e-5)


def test_attention_against_a_loop():
    layer, tokens = HeadwiseAttention(6, 2), torch.randn(1, 5, 6)
    for head in range(2):
        part = tokens[0, :, 3 * head : 3 * head + 3]
        q, k, v = (maps[head](part) for maps in (layer.query, layer.key, layer.value))
        for i in range(5):
            raw = torch.stack([q[i] @ k[j] / 3**0.5 for j in range(5)]).exp()
            wanted = sum(raw[j] / raw.sum() * v[j] for j in range(5))
            torch.testing.assert_close(layer(tokens)[0, i, 3 * head : 3 * head + 3], wanted)


def test_heads_follow_the_width():
    assert [len(model(dim=dim).build(MNIST).blocks[0].attention.query) for dim in (1, 5, 6)] == [1, 1, 2]
    with pytest.raises(PruneryError, match="heads 3 does not divide dim 16"):
        model(heads=3)


def test_normal_initial_values():
    torch.manual_seed(0)
    network = model(init="normal", dim=64).build(MNIST)
    assert float(network.blocks[0].mlp.fc1.weight.detach().std()) == pytest.approx(0.02, rel=0.03)
    assert float(network.class_token.detach().abs().max()) < 0.1


@pytest.mark.parametrize("spec", [MNIST, CIFAR, DIGITS])
def test_stacked_replicas_answer_as_each_alone(spec):
    architecture = model()
    assert architecture.batched
    networks = [architecture.build(spec) for _ in range(3)]
    inputs = torch.randn(3, 4, *spec.shape)
    together = vmap(lambda values, x: functional_call(networks[0], values, (x,)))(stack_module_state(networks), inputs)
    alone = torch.stack([network(x) for network, x in zip(networks, inputs, strict=True)])
    torch.testing.assert_close(together, alone)
    assert not torch.allclose(alone[0], alone[1])
