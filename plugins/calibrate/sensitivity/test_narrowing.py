"""Curves of channels against removing them with `prune=channels`, for convolutions and for attention."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from prunery import PruneryError
from prunery.checkpoint import Checkpoint, Origin, Replica
from prunery.data import Spec
from prunery.prune import prune
from prunery.registry import registry

SPEC = Spec("image", (1, 8, 8), 3)


def measure(network, batches, **settings):
    return registry().configured("calibrate", "sensitivity", {"mode": "channels", **settings}).measure(network, batches)


def built(name, **settings):
    torch.manual_seed(0)
    return registry().configured("model", name, settings).build(SPEC).eval()


@pytest.fixture
def batches():
    generator = torch.Generator().manual_seed(0)
    return [
        (torch.randn(size, 1, 8, 8, generator=generator), torch.randint(0, 3, (size,), generator=generator))
        for size in (8, 5)
    ]


def removed(network, key, share, batches):
    """Loss of the network from which the stage `prune` has removed a share of one group's channels."""
    settings = {"scope": "profile", "profile": {key: share}, "share": 0.0, "score": "l2"}
    parent = Checkpoint(Origin("none", {}, SPEC), {0: Replica(network)})
    child = prune(registry().configured("prune", "channels", settings), parent, {})[0].network
    assert sum(p.numel() for p in child.parameters()) < sum(p.numel() for p in network.parameters())
    inputs, labels = (torch.cat(parts) for parts in zip(*batches, strict=True))
    with torch.no_grad():
        return float(F.cross_entropy(child(inputs), labels))


NETWORKS = {"cnn": {}, "vit": {"grid": 2, "dim": 16, "blocks": 1, "heads": 2}}


@pytest.mark.parametrize("name", NETWORKS)
def test_curves_equal_removing_channels(name, batches):
    network = built(name, **NETWORKS[name])
    found = measure(network, batches, shares=(0.25, 0.5))
    assert found
    for key, row in found.items():
        for place, share in enumerate((0.25, 0.5)):
            loss = float(row["loss"][place])
            if loss == float(row["dense_loss"]):
                continue  # a share of less than one unit
            assert loss == pytest.approx(removed(network, key, share, batches), rel=1e-4), (key, share)
        assert int(row["channels"]) >= 2
        assert "weights" not in row


NORMED = {
    "0.weight": [nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 3)],
    "1.weight": [nn.Flatten(), nn.Linear(64, 8), nn.LayerNorm(8), nn.ReLU(), nn.Linear(8, 3)],
}


@pytest.mark.parametrize("key", NORMED)
def test_norms_go_with_their_channels(key, batches):
    torch.manual_seed(0)
    network = nn.Sequential(*NORMED[key]).eval()
    nn.init.normal_(network[int(key[0]) + 1].bias)
    state = {name: value.clone() for name, value in network.state_dict().items()}
    found = measure(network, batches, shares=(0.5,))
    assert list(found) == [key]
    assert float(found[key]["loss"][0]) == pytest.approx(removed(network, key, 0.5, batches), rel=1e-4)
    assert float(found[key]["loss"][0]) != pytest.approx(float(found[key]["dense_loss"]), rel=1e-3)
    assert all(torch.equal(value, state[name]) for name, value in network.state_dict().items())


def test_scores_that_need_measurements_are_refused():
    method = registry().configured("calibrate", "sensitivity", {"mode": "channels", "score": "taylor"})
    with pytest.raises(PruneryError, match=r"'taylor' needs calibrate=gradients, which a calibration cannot read"):
        method.uses()
    assert registry().configured("calibrate", "sensitivity", {"mode": "channels"}).uses() == (("score", "l2"),)
