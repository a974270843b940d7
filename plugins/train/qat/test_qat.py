"""A fresh network: all of its layers simulate; what the two stages share is tested in `tests/test_qat_learner.py`."""

from __future__ import annotations

import torch
from torch import nn

from prunery.registry import registry


def test_every_layer_of_a_fresh_network_simulates_behind_its_folded_norm():
    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU(), nn.Flatten(), nn.Linear(8, 2))
    folding, simulating = registry().configured("train", "qat", {}).edits(network, torch.zeros(1, 1, 4, 4))
    assert folding == {"edit": "fold_batch_norm", "pairs": [["0", "1"]]}
    assert list(simulating["layers"]) == ["0.weight", "4.weight"]
    assert simulating["layers"]["0.weight"]["rectified"]
