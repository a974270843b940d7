"""What networks compute inside: which features there are, in which form, and that reading leaves no trace."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from prunery.data import Spec
from prunery.errors import PruneryError
from prunery.features import hidden, listening, named
from prunery.quantize import quantize
from prunery.registry import registry
from prunery.toys import measured_by, toy_checkpoint, toy_images, toy_registered, toy_texts

IMAGES, TEXTS = Spec("image", (3, 32, 32), 10), toy_texts().spec


def built(name, spec=IMAGES, **settings):
    return registry().configured("model", name, settings).build(spec)


def described(network, spec=IMAGES):
    return [(feature.layer, feature.shape) for feature in hidden(network, spec.example(2))]


def test_what_layers_read_in_the_order_they_run():
    found = described(built("mlp", width=6, depth=2))
    assert [shape for _, shape in found] == [(6,), (6,)]
    names = described(built("vgg", init="torch"))
    assert names[:2] == [("features.4", (64, 16, 16)), ("features.8", (128, 8, 8))]
    assert names[-2:] == [("classifier.3", (512,)), ("classifier.6", (512,))]


def test_the_order_is_that_of_running_not_of_definition():
    class Crossed(nn.Module):
        def __init__(self):
            super().__init__()
            self.head, self.body, self.unused = nn.Linear(5, 2), nn.Conv2d(3, 5, 1), nn.Linear(1, 1)

        def forward(self, images):
            return self.head(input=self.body(images).mean((2, 3)))

    assert described(Crossed()) == [("head", (5,))]


def test_tokens_have_their_channels_last():
    network = built("vit", dim=8, blocks=1, heads=2)
    assert described(network)[-3:] == [("blocks.0.mlp.fc1", (8, 50)), ("blocks.0.mlp.fc2", (32, 50)), ("head", (8,))]
    feature = hidden(network, IMAGES.example(2))[-2]
    value = torch.randn(2, feature.places[0], feature.channels)
    assert torch.equal(feature.of(value), value.movedim(2, 1))


def test_the_first_linear_layer_of_a_text_network_is_hidden():
    network = nn.Sequential(nn.Embedding(TEXTS.vocabulary, 6), nn.Flatten(), nn.Linear(6 * 12, 4))
    assert described(network, TEXTS) == [("2", (72,))]


def test_quantized_networks_can_be_read():
    with toy_registered():
        parent = toy_checkpoint((0,))
        plain = described(parent.networks[0], toy_images().spec)
        method = registry().configured("quantize", "ptq", {})
        child = quantize(method, parent, measured_by(method, parent))
    assert described(child[0].network, toy_images().spec) == plain


def test_a_network_without_hidden_layers_has_none():
    with pytest.raises(PruneryError, match="no hidden Linear or Conv2d"):
        hidden(nn.Sequential(nn.Flatten(), nn.Linear(12, 2)), torch.zeros(2, 3, 2, 2))


def test_named_outputs():
    network = built("vgg", init="torch")
    found = named(network, IMAGES.example(2), ["avgpool", "classifier.?", "features"])
    assert [(one.layer, one.channels, one.places) for one in found[:3]] == [
        ("features", 512, (1, 1)), ("avgpool", 512, (1, 1)), ("classifier.0", 512, ()),
    ]  # fmt: skip
    assert found[-1].layer == "classifier.6"
    with pytest.raises(PruneryError, match=r"unknown layer that runs 'features\.90'"):
        named(network, IMAGES.example(2), ["features.90"])
    memory = nn.Sequential(nn.Flatten(2), nn.LSTM(1024, 4))
    with pytest.raises(PruneryError, match="layer '1' gives no tensor of 2 to 4 axes"):
        named(memory, IMAGES.example(2), ["1"])


def test_listening_ends():
    network, images = built("vgg", init="torch").train(), torch.randn(2, 3, 32, 32)
    with listening(network, [("classifier.3", "input"), ("classifier.3", "output")]) as heard:
        logits = network(images)
    (read, given) = heard.values()
    assert torch.equal(network.classifier[3](read), given)
    assert logits.shape == (2, 10)
    heard.clear()
    network(images)
    hidden(network, images)
    assert not heard
    assert network.training
    assert not any(layer._forward_hooks or layer._forward_pre_hooks for layer in network.modules())
