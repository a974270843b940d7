"""The one-convolution network: published counts, initial values, replicas side by side."""

import pytest
import torch
from torch.func import functional_call, stack_module_state, vmap

from prunery.data import Spec
from prunery.errors import PruneryError
from prunery.registry import registry
from prunery.sizes import sizes

MNIST, CIFAR = Spec("image", (1, 28, 28), 10), Spec("image", (3, 32, 32), 10)


def model(**settings):
    return registry().configured("model", "cnn", settings)


@pytest.mark.parametrize("channels", [1, 4, 8, 32])
def test_published_counts(channels):
    mnist = sizes(model(channels=channels).build(MNIST), MNIST)
    assert mnist["parameters"] == 6770 * channels + 10
    assert mnist["macs"] == channels * 26 * 26 * 9 + channels * 26 * 26 * 10
    assert sizes(model(channels=channels).build(CIFAR), CIFAR)["parameters"] == 9028 * channels + 10


def test_initial_values():
    torch.manual_seed(0)
    network = model(channels=512).build(CIFAR)
    assert float(network.conv.weight.detach().std()) == pytest.approx((2 / (9 * 512)) ** 0.5, rel=0.03)
    assert float(network.output.weight.detach().std()) == pytest.approx(0.01, rel=0.01)


def test_stacked_replicas_answer_as_each_alone():
    architecture = model(channels=3)
    assert architecture.batched
    networks = [architecture.build(CIFAR) for _ in range(3)]
    inputs = torch.randn(3, 5, *CIFAR.shape)
    together = vmap(lambda values, x: functional_call(networks[0], values, (x,)))(stack_module_state(networks), inputs)
    alone = torch.stack([network(x) for network, x in zip(networks, inputs, strict=True)])
    torch.testing.assert_close(together, alone)
    assert not torch.allclose(alone[0], alone[1])


def test_images_under_the_kernel_are_refused():
    with pytest.raises(PruneryError, match="smaller than the kernel"):
        model(kernel=5).build(Spec("image", (1, 4, 8), 2))
