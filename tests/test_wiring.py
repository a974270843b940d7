"""Whose output goes where."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from prunery.wiring import Wire, wiring


class Wirings(nn.Module):
    """Layers that take in another's output directly, moved, rectified, or changed in any way that matters."""

    NAMES = ("first", "direct", "flattened", "pooled", "dropped", "gelu", "written", "added", "twice")

    def __init__(self) -> None:
        super().__init__()
        self.first, self.conv = nn.Conv2d(1, 2, 3, padding=1), nn.Conv2d(2, 2, 1)
        for name in self.NAMES[1:]:
            setattr(self, name, nn.Linear(8, 8))
        self.pool, self.dropout, self.relu = nn.MaxPool2d(2), nn.Dropout(0.5), nn.ReLU(inplace=True)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        x = self.conv(F.relu(self.first(images)))
        x = self.pooled(self.pool(x).flatten(1))
        x = self.direct(x)
        x = self.flattened(self.relu(x).reshape(-1, 8))
        x = self.dropped(self.dropout(x))
        x = self.gelu(F.gelu(x))
        x += 1
        x = self.written(x)
        x = self.added(x + x)
        return self.twice(self.twice(x))


def test_sources_are_found_where_values_are_only_moved():
    network = Wirings().train()
    found = wiring(network, torch.randn(1, 1, 4, 4))
    assert network.training
    assert network.dropout.training
    sources = {key.removesuffix(".weight"): wire.source for key, wire in found.items()}
    assert sources == {
        "first": None,
        "conv": "first.weight",
        "pooled": "conv.weight",
        "direct": "pooled.weight",
        "flattened": "direct.weight",
        "dropped": "flattened.weight",  # in evaluation mode dropout hands its input on
        "gelu": None,
        "written": None,
        "added": None,
        "twice": None,
    }
    assert found["first.weight"] == Wire(rectified=True, source=None)
    assert not found["conv.weight"].rectified
    assert found["direct.weight"].rectified
    assert not [layer for layer in network.modules() if layer._forward_hooks or layer._forward_pre_hooks]


def test_a_layer_that_does_not_run_has_no_wire():
    layers = nn.ModuleDict({"used": nn.Linear(4, 4), "unused": nn.Linear(4, 4)})
    layers.forward = lambda inputs: layers["used"](inputs)
    assert set(wiring(layers, torch.randn(1, 4))) == {"used.weight"}
