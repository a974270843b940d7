"""Layers and weights that no method compresses: the chain works around them, and says so."""

from __future__ import annotations

import copy
import re

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations

from prunery import toys
from prunery.checkpoint import Replica
from prunery.edits import mask_edit
from prunery.errors import PruneryError
from prunery.gates import check, warnings
from prunery.layers import compressible
from prunery.leftout import COMPUTED, beware, explaining, left_out
from prunery.prune import prune
from prunery.quantize import quantize
from prunery.registry import registry
from prunery.sizes import sizes
from prunery.train import initial


class Conv1D(nn.Module):
    """A linear map whose weight lies the other way round, as transformers' GPT-2 has it."""

    def __init__(self, into, out):
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.randn(into, out)), nn.Parameter(torch.zeros(out))

    def forward(self, values):
        return values @ self.weight + self.bias


def normed(network):
    """A toy network whose second convolution computes its weight."""
    parametrizations.weight_norm(network[2])
    return network


def spectral(network):
    """One whose first linear layer does."""
    parametrizations.spectral_norm(network[5])
    return network


def whitened(network):
    """One whose second convolution has a weight that a hook divides by its spectral norm."""
    torch.nn.utils.spectral_norm(network[2])
    return network


def checkpoint(change=normed):
    """A toy checkpoint, its networks changed."""
    found = toys.toy_checkpoint((0,))
    found.replicas = {seed: Replica(change(each.network), each.edits) for seed, each in found.replicas.items()}
    return found


def made(stage, name, **settings):
    return registry().configured(stage, name, settings)


# --- weights that are computed ---------------------------------------------------------------------------------------


def test_computed_weights_are_not_compressible():
    network = checkpoint(lambda network: spectral(normed(network))).networks[0]
    assert [key for key, _ in compressible(network)] == ["0.weight", "7.weight"]
    assert left_out(network)["2.weight"] == f"a Conv2d {COMPUTED}"
    assert left_out(network)["5.weight"] == f"a Linear {COMPUTED}"


@pytest.mark.parametrize(
    ("stage", "name", "settings"),
    [
        ("prune", "magnitude", {}),
        ("prune", "channels", {"surgery": "zero"}),
        ("prune", "channels", {}),
        ("quantize", "weights", {"format": "int4"}),
    ],
)
@pytest.mark.parametrize("change", [normed, whitened])
def test_the_others_are_compressed(change, stage, name, settings):
    parent, method = checkpoint(change), made(stage, name, **settings)
    before = copy.deepcopy(parent.networks[0].state_dict())
    replicas = {"prune": prune, "quantize": quantize}[stage](method, parent, {})
    check(method, parent, replicas)
    after = replicas[0].network.state_dict()
    assert replicas[0].network.eval()(toys.toy_images().spec.example(2)).isfinite().all()
    for key in (key for key in before if key.startswith("2.")):
        assert torch.equal(before[key], after[key])
    assert sizes(replicas[0].network, parent.origin.spec)["macs"] > 0


@pytest.mark.parametrize(
    ("stage", "name", "settings", "setting"),
    [
        ("prune", "magnitude", {"exclude": ["2.weight"]}, "exclude"),
        ("prune", "magnitude", {"scope": "profile", "profile": {"2.*": 0.3}}, "profile"),
        ("prune", "channels", {"exclude": ["2.weight"]}, "exclude"),
        ("prune", "channels", {"scope": "profile", "profile": {"2.weight": 0.3}}, "profile"),
        ("quantize", "weights", {"formats": {"2.weight": "int4"}}, "formats"),
        ("quantize", "ptq", {"exclude": ["2.weight"]}, "exclude"),
    ],
)
def test_naming_them_says_what_they_are(stage, name, settings, setting):
    parent, method = checkpoint(), made(stage, name, **settings)
    measured = {0: toys.measured_by(method, parent)[0]} if name == "ptq" else {}
    with (
        pytest.raises(PruneryError, match=f"^the setting {setting}: .* names 2.*{re.escape(COMPUTED)}") as raised,
        explaining(parent.networks[0]),
    ):
        {"prune": prune, "quantize": quantize}[stage](method, parent, measured)
    assert "unknown weight" not in str(raised.value)


@pytest.mark.filterwarnings("ignore:`torch.nn.utils.weight_norm` is deprecated")
def test_a_network_that_cannot_be_copied_is_refused_when_it_is_made():
    class Hooked(toys.ToyNetwork):
        def build(self, spec):
            network = super().build(spec)
            torch.nn.utils.weight_norm(network[2])
            return network

    origin = toys.toy_checkpoint((0,)).origin
    with pytest.raises(PruneryError, match=r"computes 2.weight by a hook.*cannot be copied so: build it with torch.nn"):
        initial(Hooked(), origin, 0)


def test_a_network_without_any_other_weight_says_so():
    with pytest.raises(
        PruneryError, match="no Linear or Conv2d with a weight of its own: choose another model or step"
    ):
        prune(made("prune", "magnitude"), checkpoint(lambda network: nn.Sequential(*network[:2], Conv1D(4, 4))[2:]), {})


# --- layers of other kinds -------------------------------------------------------------------------------------------


class Mixed(nn.Module):
    """One layer of each of some kinds."""

    def __init__(self):
        super().__init__()
        self.table, self.recurrent, self.turned = nn.Embedding(7, 4), nn.LSTM(4, 4), Conv1D(4, 4)
        self.solid, self.norm, self.head = nn.Conv3d(1, 2, 1), nn.LayerNorm(4), nn.Linear(4, 3)
        self.place = nn.Parameter(torch.zeros(1, 5, 4))


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        ("turned.weight", "a parameter of a Conv1D"),
        ("solid.*", "a parameter of a Conv3d"),
        ("table.weight", "a parameter of a Embedding"),
        ("recurrent.weight_hh_l0", "a parameter of a LSTM"),
        ("head.bias", "a parameter of a Linear"),
        ("place", "a parameter of a Mixed"),
    ],
)
@pytest.mark.parametrize("name", ["magnitude", "random", "nm"])
def test_other_layers_are_named_by_kind(pattern, said, name):
    network = Mixed()
    method, weights = made("prune", name, exclude=[pattern]), {"head.weight": network.head.weight.detach()}
    with (
        pytest.raises(
            PruneryError, match=f"^the setting exclude: '{re.escape(pattern)}' names .*{said}: only weights of"
        ),
        explaining(network),
    ):
        method.masks(weights, {}, torch.Generator())


def test_what_exists_nowhere_stays_unknown():
    network = Mixed()
    with pytest.raises(PruneryError, match=r"^the setting exclude: unknown weight 'tail.weight': did you mean"):  # noqa: SIM117
        with explaining(network):
            made("prune", "magnitude", exclude=["tail.weight"]).masks({"head.weight": network.head.weight}, {}, None)


def test_what_stays_as_it_is_is_told_once():
    network, edits = Mixed(), [mask_edit(["head.weight"])]
    assert beware(network, edits) == (
        "only Linear and Conv2d layers are compressed; left as they are: recurrent.weight_ih_l0 (LSTM) and 3 more"
    )
    assert beware(network, []) is beware(network, [{"edit": "channels"}]) is None
    assert beware(nn.Sequential(nn.Embedding(5, 4), nn.LayerNorm(4), nn.Linear(4, 2)), edits) is None
    parent = checkpoint()
    line = "only Linear and Conv2d layers are compressed; left as they are: 2.weight (ParametrizedConv2d, computed)"
    assert warnings(parent, prune(made("prune", "magnitude"), parent, {})) == [line]
