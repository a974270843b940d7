"""VGG: the published counts, names and values."""

import pytest
import torch
from torch import nn
from torchvision.models import get_model

from prunery.data import Spec
from prunery.errors import PruneryError
from prunery.layers import weights
from prunery.registry import registry
from prunery.sizes import sizes

CIFAR = Spec("image", (3, 32, 32), 10)


def model(**settings):
    return registry().configured("model", "vgg", settings)


def test_cifar_counts_and_names():
    network = model().build(CIFAR)
    figures = sizes(network, CIFAR)
    assert figures["parameters"] == 9_756_426
    assert figures["macs"] == 153_293_824
    assert figures["bits"] / 8 / 2**20 == pytest.approx(37.24, abs=0.005)
    convs = [f"features.{n}.weight" for n in (0, 4, 8, 11, 15, 18, 22, 25)]
    assert list(weights(network)) == convs + [f"classifier.{n}.weight" for n in (0, 3, 6)]


@pytest.mark.parametrize(
    ("depth", "parameters", "macs"),
    [
        (13, 9_941_322, 228_791_296),
        (16, 15_253_578, 313_725_952),
        (19, 20_565_834, 398_660_608),
    ],
)
def test_deeper_ones_count_as_published(depth, parameters, macs):
    network = model(depth=depth, init="torch").build(CIFAR)
    figures = sizes(network, CIFAR)
    assert (figures["parameters"], figures["macs"]) == (parameters, macs)
    assert len(weights(network)) == depth


@pytest.mark.parametrize("depth", [11, 13, 16, 19])
def test_keys_and_shapes_are_those_of_torchvision(depth):
    with torch.device("meta"):
        small = model(depth=depth, init="torch").build(CIFAR)
        large = model(depth=depth, init="torch", variant="imagenet").build(Spec("image", (3, 224, 224), 1000))
        theirs, normed = (get_model(f"vgg{depth}{kind}", init_weights=False) for kind in ("", "_bn"))
    assert [(k, v.shape) for k, v in large.state_dict().items()] == [
        (k, v.shape) for k, v in theirs.state_dict().items()
    ]
    assert list(small.features.state_dict()) == list(normed.features.state_dict())


def test_published_profile_prunes_the_published_share():
    profile = [0.1, 0.3, 0.5, 0.6, 0.65, 0.7, 0.75, 0.8, 0.8, 0.8, 0.5]
    layers = weights(model().build(CIFAR)).values()
    zeros = sum(share * weight.numel() for share, weight in zip(profile, layers, strict=True))
    assert zeros / 9_756_426 == pytest.approx(0.71961, abs=5e-6)


def test_imagenet_counts_names_and_size():
    with torch.device("meta"):
        network = model(variant="imagenet", init="torch").build(Spec("image", (3, 224, 224), 100))
    assert sum(p.numel() for p in network.parameters()) == 129_176_036
    named = [name for name, layer in network.named_modules() if isinstance(layer, nn.Conv2d)]
    assert named == [f"features.{n}" for n in (0, 3, 6, 8, 11, 13, 16, 18)]
    assert network(torch.empty(1, 3, 224, 224, device="meta")).shape == (1, 100)


def test_kernels_are_he_normal_over_fan_out():
    torch.manual_seed(0)
    network = model().build(CIFAR)
    assert float(network.features[18].weight.detach().std()) == pytest.approx((2 / (512 * 9)) ** 0.5, rel=0.01)
    assert float(network.classifier[3].weight.detach().std()) == pytest.approx(0.01, rel=0.01)


def test_mistakes_are_named():
    with pytest.raises(PruneryError, match="32 pixels or more"):
        model().build(Spec("image", (1, 28, 28), 10))
    with pytest.raises(PruneryError, match="variant imagenet only"):
        model(pretrained=True)


def test_pretrained_without_the_internet_is_one_line(monkeypatch):
    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", _offline)
    monkeypatch.setattr(type(model()), "build", lambda self, spec: nn.Linear(1, 1))
    with pytest.raises(PruneryError, match=r"weights cannot be fetched .*set pretrained: false"):
        model(variant="imagenet", pretrained=True).create(Spec("image", (3, 224, 224), 100))


def _offline(*arguments, **options):
    raise OSError("no route to host")
