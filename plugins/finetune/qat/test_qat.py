"""A network that simulates already; what the two stages share is tested in `tests/test_qat_learner.py`."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from prunery.edits import replay
from prunery.registry import registry


@pytest.mark.parametrize("settings", [{}, {"format": "int4"}])
def test_a_network_that_simulates_keeps_its_layers(settings):
    network, example = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2)), torch.zeros(1, 4)
    replay(network, registry().configured("finetune", "qat", settings).edits(network, example))
    assert registry().configured("finetune", "qat", {"bits": 4}).edits(network, example) == []
