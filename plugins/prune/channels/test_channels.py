"""Numbers of channel pruning: the paper's VGG-11, shares counted by hand, targets met by the fewest channels."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from prunery import PruneryError, toys
from prunery.checkpoint import Checkpoint, Origin, Replica
from prunery.coupling.trials import proved_structure
from prunery.data import Spec
from prunery.prune import prune
from prunery.pruning import Layer
from prunery.registry import registry
from prunery.sizes import sizes

PAPER = [0.1, 0.25, 0.4, 0.45, 0.5, 0.55, 0.7]
CONVS = [f"features.{place}.weight" for place in (0, 4, 8, 11, 15, 18, 22, 25)]


def channels(**settings):
    return registry().configured("prune", "channels", settings)


@pytest.fixture(scope="module")
def vgg():
    spec = Spec("image", (3, 32, 32), 10)
    model = registry().configured("model", "vgg", {})
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Checkpoint(Origin(*model.origin(), spec), {0: Replica(model.build(spec).eval())}, hash="vgg")


def widths(network):
    return [network.get_parameter(key).shape[0] for key in CONVS]


@pytest.mark.parametrize(
    "settings",
    [
        {"profile": [*PAPER, 0, 0, 0]},
        {"profile": dict(zip(CONVS, PAPER, strict=False)), "share": 0},
        {"profile": dict(zip(CONVS, PAPER, strict=False)), "exclude": ["classifier.*", "features.25.*"]},
    ],
)
def test_the_papers_vgg_has_exactly_its_parameters_and_multiplications(vgg, settings):
    network = prune(channels(scope="profile", **settings), vgg, {})[0].network
    assert widths(network) == [57, 96, 153, 140, 256, 230, 153, 512]
    found = sizes(network, vgg.origin.spec)
    assert (found["parameters"], found["macs"]) == (2_785_206, 53_237_656)  # 53.24 M


def test_the_channels_of_largest_norm_stay(vgg):
    before, after = vgg.networks[0], prune(channels(share=0.25), vgg, {})[0].network
    norms = before.get_parameter(CONVS[0]).detach().flatten(1).norm(dim=1)
    kept = norms.argsort(descending=True)[:48].sort().values
    assert torch.equal(after.get_parameter(CONVS[0]), before.get_parameter(CONVS[0])[kept])
    assert torch.equal(after.get_parameter("features.1.weight"), before.get_parameter("features.1.weight")[kept])


# --- on a network small enough to count ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def small():
    """Groups of 8, 6 and 12 units; their layers' weights grow by a factor of 10 from one to the next."""
    network = nn.Sequential(
        nn.Conv2d(1, 8, 3),
        nn.ReLU(),
        nn.Conv2d(8, 6, 3),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(96, 12),
        nn.ReLU(),
        nn.Linear(12, 4),
    )
    for scale, place in enumerate((0, 2, 5)):
        rows = torch.arange(1.0, len(network[place].weight) + 1)
        network[place].weight.data = (
            rows.reshape(-1, *[1] * (network[place].weight.dim() - 1)).expand(network[place].weight.shape) * 10.0**scale
        )
    return network, proved_structure(network, torch.randn(2, 1, 8, 8))


def kept(small, measured=None, **settings):
    network, structure = small
    layers = {
        key: Layer(key, network.get_parameter(key).detach())
        for group in structure.groups.values()
        for key in group.layers
    }
    return channels(**settings).keep(structure, layers, measured or {}, torch.Generator().manual_seed(0))


def counts(small, measured=None, **settings):
    found = kept(small, measured, **settings)
    return [int(found[name].sum()) if name in found else len(group) for name, group in small[1].groups.items()]


@pytest.mark.parametrize(
    ("settings", "wanted"),
    [
        ({"share": 0.5}, [4, 3, 6]),
        ({"share": 0.3}, [5, 4, 8]),
        ({"share": 0.3, "round_to": 4}, [8, 4, 8]),
        ({"share": 0.9, "least": 2}, [2, 2, 2]),
        ({"share": 0.5, "exclude": ["2.*"]}, [4, 6, 6]),
        ({"scope": "profile", "profile": {"*": 0.5, "5.weight": 0.25}}, [4, 3, 9]),
        ({"scope": "profile", "profile": [0.5, 0, 0.75]}, [4, 6, 3]),
    ],
)
def test_shares_by_layer(small, settings, wanted):
    assert counts(small, **settings) == wanted


def test_a_global_rank_drops_the_lowest_and_leaves_one_of_each(small):
    found = kept(small, share=0.5, scope="global", normalize="none")  # 13 of 26 channels; the first layers are smallest
    assert [int(mask.sum()) for mask in found.values()] == [1, 1, 11]
    assert found["0.weight"].tolist() == [False] * 7 + [True]
    even = counts(small, share=0.5, scope="global", normalize="mean")
    assert sum(even) == 13
    assert min(even) > 2


@pytest.mark.parametrize("target", ["parameters", "macs"])
@pytest.mark.parametrize("scope", ["layer", "global"])
@pytest.mark.parametrize("share", [0.2, 0.5, 0.8])
def test_a_target_is_met_by_the_fewest_channels(small, target, scope, share):
    place = ("parameters", "macs").index(target)
    structure = small[1]
    found = kept(small, share=share, scope=scope, target=target)
    total, left = structure.sizes({})[place], structure.sizes(found)[place]
    assert left <= (1 - share) * total
    one_more = kept(small, share=share - 0.08, scope=scope, target=target)
    assert structure.sizes(one_more)[place] >= left


def test_sensitivities_decide_what_each_layer_gives(small):
    line = {"share": torch.tensor([0.25, 0.5, 0.75]), "channels": torch.tensor(0), "dense_loss": torch.tensor(1.0)}
    rows = {
        "0.weight": line | {"loss": torch.tensor([1.5, 2.0, 2.5])},
        "2.weight": line | {"loss": torch.tensor([1.5, 2.0, 2.5])},
        "5.weight": line | {"loss": torch.tensor([1.0, 1.0, 1.0])},
    }
    measured = {"mine": rows}
    assert counts(small, measured, share=0.3, scope="sensitivity", allocation="mine") == [8, 6, 4]
    with pytest.raises(PruneryError, match="at most"):
        counts(small, measured, share=0.9, scope="sensitivity", allocation="mine")


def test_scores_of_layers_that_go_together_are_brought_together():
    class Residual(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.two, self.head = nn.Linear(64, 4), nn.Linear(4, 4), nn.Linear(4, 4)
            self.one.weight.data.zero_()[:, 0] = torch.tensor([1.0, 2.0, 3.0, 4.0])
            self.two.weight.data.zero_()[:, 0] = torch.tensor([9.0, 1.0, 1.0, 1.0])

        def forward(self, x):
            x = self.one(x.flatten(1))
            return self.head(x + self.two(x))

    network = Residual()
    small = network, proved_structure(network, torch.randn(2, 1, 8, 8))
    dropped = {
        how: kept(small, share=0.25, aggregate=how)["one.weight"].tolist().index(False)
        for how in ("mean", "sum", "max")
    }
    assert dropped == {"mean": 1, "sum": 1, "max": 1}  # 10, 3, 4, 5; largest 9, 2, 3, 4


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"share": 0.9}, "a share of 0.9 leaves none of the 8 channels of 0.weight: lower it, or set least"),
        ({"share": 1}, "less than 1"),
        ({"exclude": ["9.*"]}, "unknown weight '9.*'"),
        ({"exclude": ["*"]}, "leaves no layer"),
        (
            {"scope": "profile", "profile": {"7.weight": 0.5}},
            "the channels of 7.weight cannot go: its channels are the network's output",
        ),
        ({"scope": "profile", "profile": [0.5]}, "1 shares for 3 groups of layers: 0.weight, 2.weight, 5.weight"),
        ({"scope": "profile"}, "give both or neither"),
        ({"scope": "profile", "profile": [0.5], "target": "macs"}, "goes with another scope"),
        ({"score": "l3"}, "unknown score method 'l3'"),
        ({"score_settings": {"power": 2}}, "unknown setting 'power'"),
        ({"score": "bn_scale"}, "score 'bn_scale' says nothing of any layer"),
        ({"scope": "global", "target": "macs", "share": 0.99, "least": 4}, "of the macs can go under these settings"),
    ],
)
def test_mistakes_are_named(small, settings, said):
    import re

    with pytest.raises(PruneryError, match=re.escape(said)):
        kept(small, **settings)


def test_it_needs_what_its_score_needs_and_what_decides():
    assert channels().needs() == ()
    assert channels(score="taylor", scope="sensitivity").needs() == ("calibrate=gradients", "calibrate=channels")
    assert channels(score="l1").uses() == (("score", "l1"),)
    assert channels(surgery="zero").promises() == ("zeros",)


def test_gradients_reach_the_score():
    method, parent = channels(score="taylor", scope="global", normalize="none"), toys.toy_checkpoint((0,))
    small = prune(method, parent, toys.measured_by(method, parent))[0].network
    assert sum(value.numel() for value in small.parameters()) < sum(
        value.numel() for value in parent.networks[0].parameters()
    )
