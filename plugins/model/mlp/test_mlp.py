"""The perceptron: widths, counts, initial values, replicas side by side."""

import itertools

import pytest
import torch
from prunery_plugins.model.mlp.core import hidden_widths
from torch.func import functional_call, stack_module_state, vmap

from prunery.data import Spec
from prunery.errors import PruneryError
from prunery.registry import registry

MNIST, CIFAR = Spec("image", (1, 28, 28), 10), Spec("image", (3, 32, 32), 10)


def model(**settings):
    return registry().configured("model", "mlp", settings)


def count(network):
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize("width", [1, 2, 5, 20, 30, 1000])
def test_one_hidden_layer_has_the_published_counts(width):
    assert count(model(width=width).build(MNIST)) == 795 * width + 10
    assert count(model(width=width).build(CIFAR)) == 3083 * width + 10


def test_shapes_double_and_halve():
    assert hidden_widths(4, 5, ("increase", "decrease", "equal"), 2) == (5, 10, 5, 5)
    assert hidden_widths(3, 5, ("decrease", "decrease"), 2) == (5, 3, 2)
    assert hidden_widths(3, 1, ("decrease", "decrease"), 2) == (1, 1, 1)
    assert hidden_widths(3, 7, (), 2) == (7, 7, 7)


def test_every_depth_has_three_to_the_depth_less_one_shapes():
    for depth, wanted in [(1, 1), (2, 3), (3, 9), (4, 27)]:
        shapes = itertools.product(("increase", "decrease", "equal"), repeat=depth - 1)
        networks = [model(depth=depth, width=20, shape=shape).build(MNIST) for shape in shapes]
        assert len(networks) == wanted
        assert all(sum(name.startswith("fc") for name, _ in n.named_children()) == depth for n in networks)


def test_weights_are_normal_of_the_stated_deviation_and_biases_zero():
    torch.manual_seed(0)
    he, fixed = model(width=500).build(MNIST), model(width=500, std=0.01).build(MNIST)
    assert float(he.fc1.weight.detach().std()) == pytest.approx((2 / 784) ** 0.5, rel=0.01)
    assert float(fixed.fc1.weight.detach().std()) == pytest.approx(0.01, rel=0.01)
    assert all(not n.fc1.bias.any() and not n.output.bias.any() for n in (he, fixed))


def test_stacked_replicas_answer_as_each_alone():
    architecture = model(depth=3, width=9)
    assert architecture.batched
    networks = [architecture.build(MNIST) for _ in range(4)]
    inputs = torch.randn(4, 6, *MNIST.shape)
    together = vmap(lambda values, x: functional_call(networks[0], values, (x,)))(stack_module_state(networks), inputs)
    alone = torch.stack([network(x) for network, x in zip(networks, inputs, strict=True)])
    torch.testing.assert_close(together, alone)
    assert not torch.allclose(alone[0], alone[1])


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"widths": [3], "depth": 2}, "not both"),
        ({"depth": 3, "shape": ["equal"]}, "1 entries, 3 hidden layers want 2"),
        ({"depth": 2, "shape": ["grow"]}, "shape"),
        ({"width": 0}, "width"),
    ],
)
def test_mistakes_are_named(settings, said):
    with pytest.raises(PruneryError, match=said):
        model(**settings)


def test_texts_are_refused():
    with pytest.raises(PruneryError, match="model 'mlp' wants images"):
        model().build(Spec("text", (8,), 2, 100))
