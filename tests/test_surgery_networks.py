"""Channels removed from networks of timm and transformers, built from their configs: nothing here knows their names.

Sizes of images are small where the network takes them, so that a test is seconds; what is tied to what is the same.
"""

from __future__ import annotations

import pytest
import torch

from prunery import PruneryError, gates
from prunery.checkpoint import Checkpoint, Origin, Replica, load, save
from prunery.data import Spec
from prunery.layers import quantized_layers
from prunery.network import build
from prunery.prune import prune
from prunery.registry import registry
from prunery.sizes import sizes
from prunery.surgery import Surgeon

NETWORKS = {  # name -> (side of the images, groups of channels)
    "resnet18": (64, 12),
    "resnet50": (64, 37),
    "vgg11_bn": (32, 10),
    "mobilenetv2_100": (64, 25),
    "densenet121": (64, 120),
    "efficientnet_b0": (64, 40),
    "convnext_atto": (64, 16),
    "vit_tiny_patch16_224": (64, 25),
    "deit_tiny_patch16_224": (64, 25),
    "swin_tiny_patch4_window7_224": (112, 28),
}
MIXED_STATISTICS = ("convnext_atto", "vit_tiny_patch16_224", "deit_tiny_patch16_224", "swin_tiny_patch4_window7_224")
"""Layer norms on the residual path: statistics change with the channels left, so zeros are no equal of removal."""


def born(model, settings, spec):
    method = registry().configured("model", model, settings)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = method.build(spec).eval()
    _wake(network)
    return Checkpoint(Origin(*method.origin(), spec), {0: Replica(network)}, hash="born")


def _wake(network):
    """Fresh networks hold zeros (biases, scales of residual branches): random values tell channels apart."""
    generator = torch.Generator().manual_seed(0)
    for parameter in network.parameters():
        if parameter.dim() < 2:
            parameter.data.copy_(1 + 0.2 * torch.randn(parameter.shape, generator=generator))


def check_surgery(parent, tmp_path, share=0.3, exclude=()):
    """Prune, pass the gates, compare with the control, read back. Returns the small network."""
    method = registry().configured("prune", "channels", {"share": share, "exclude": list(exclude)})
    made = prune(method, parent, {})
    gates.check(method, parent, made)
    child = parent.child(made, {})
    save(child, tmp_path / "child")
    again = load(tmp_path / "child", build)
    inputs = parent.origin.spec.random(2, torch.Generator().manual_seed(1))
    with torch.no_grad():
        small = child.networks[0](inputs)
        assert small.shape == (2, parent.origin.spec.classes)
        assert small.isfinite().all()
        assert torch.equal(again.networks[0].eval()(inputs), small)
    assert again.networks[0].state_dict().keys() == parent.networks[0].state_dict().keys()
    return child.networks[0], inputs, small


def held_at_zero(parent, share=0.3, exclude=()):
    settings = {"share": share, "surgery": "zero", "exclude": list(exclude)}
    return prune(registry().configured("prune", "channels", settings), parent, {})[0].network.eval()


@pytest.mark.parametrize("name", NETWORKS)
def test_networks_of_timm_lose_channels(name, tmp_path):
    side, groups = NETWORKS[name]
    options = {"mlp_ratio": 1 / 16} if name == "vgg11_bn" else {}  # a head of 100 million weights tells nothing more
    parent = born("timm", {"name": name, "options": options}, Spec("image", (3, side, side), 10))
    structure = Surgeon(parent.origin.spec).structure(parent.networks[0])
    assert len(structure.groups) == groups
    assert set(structure.fixed.values()) == {"its channels are the network's output"}
    inside = [key for name, group in structure.groups.items() if len(group.layers) > 3 for key in group.layers]
    exclude = inside if name in MIXED_STATISTICS else []
    network, inputs, small = check_surgery(parent, tmp_path, exclude=exclude)
    with torch.no_grad():
        control = held_at_zero(parent, exclude=exclude)(inputs)
    assert torch.allclose(small, control, rtol=1e-3, atol=1e-3 * float(control.abs().max()))
    counted = sizes(network, parent.origin.spec)
    assert counted["parameters"] < 0.8 * sizes(parent.networks[0], parent.origin.spec)["parameters"]


@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "swin_tiny_patch4_window7_224"])
def test_residual_paths_of_transformers_lose_channels_too(name, tmp_path):
    side, _ = NETWORKS[name]
    parent = born("timm", {"name": name}, Spec("image", (3, side, side), 10))
    network, _, _ = check_surgery(parent, tmp_path, share=0.5)
    embed = next(value for key, value in network.named_parameters() if "patch_embed" in key)
    assert embed.shape[0] == {"vit": 96, "swi": 48}[name[:3]]


BERT = {
    "model_type": "bert",
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
}


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_bert_loses_heads_and_hidden_units(attention, tmp_path):
    spec = Spec("text", (12,), 5, 100)
    parent = born("hf", {"config": BERT, "attention": attention}, spec)
    structure = Surgeon(spec).structure(parent.networks[0])
    sizes_of = {
        name.removeprefix("bert.encoder."): (len(group), group.width) for name, group in structure.groups.items()
    }
    for layer in (0, 1):
        assert sizes_of[f"layer.{layer}.attention.self.query.weight"] == (4, 8)
        assert sizes_of[f"layer.{layer}.intermediate.dense.weight"] == (48, 1)
    hidden = [key for group in structure.groups.values() if len(group.layers) > 3 for key in group.layers]
    network, inputs, _ = check_surgery(parent, tmp_path, share=0.5, exclude=hidden)
    assert network.get_parameter("bert.encoder.layer.0.attention.self.value.weight").shape == (16, 32)
    assert network.get_parameter("bert.encoder.layer.1.output.dense.weight").shape == (32, 24)
    inputs[:, 8:] = 0  # padding is still left out
    with torch.no_grad():
        control = held_at_zero(parent, share=0.5, exclude=hidden)
        assert torch.allclose(network(inputs), control(inputs), atol=1e-4)


@pytest.mark.parametrize(
    ("model", "settings", "spec", "groups"),
    [
        ("cnn", {}, Spec("image", (1, 8, 8), 10), {"conv.weight"}),
        ("mlp", {"widths": [16, 16]}, Spec("image", (1, 8, 8), 10), {"fc1.weight", "fc2.weight"}),
        ("vit", {"dim": 16}, Spec("image", (1, 8, 8), 10), {"blocks.0.mlp.fc1.weight", "blocks.1.mlp.fc1.weight"}),
        ("lstm", {"hidden": 12}, Spec("text", (6,), 3, 50), {"layers.0.input.weight"}),
    ],
)
def test_prunerys_own_networks_lose_channels(model, settings, spec, groups, tmp_path):
    parent = born(model, settings, spec)
    assert set(Surgeon(spec).structure(parent.networks[0]).groups) == groups
    _, inputs, small = check_surgery(parent, tmp_path, share=0.5)
    with torch.no_grad():
        assert torch.allclose(held_at_zero(parent, share=0.5)(inputs), small, atol=1e-4 * float(small.abs().max()))
    assert not list(quantized_layers(parent.networks[0]))


def test_a_network_that_is_not_supported_says_so_in_one_line():
    parent = born("cnn", {}, Spec("image", (3, 32, 32), 10))
    parent.replicas[0] = Replica(torch.nn.Sequential(_Sorting(), torch.nn.Flatten(), torch.nn.Linear(4 * 32 * 32, 10)))
    with pytest.raises(
        PruneryError, match=r"no channel .* can be removed .*the operator sort is not followed"
    ) as caught:
        prune(registry().configured("prune", "channels", {}), parent, {})
    assert "\n" not in str(caught.value)


class _Sorting(torch.nn.Module):
    """A convolution whose channels are sorted."""

    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 4, 1)

    def forward(self, x):
        return self.conv(x).sort(1).values
