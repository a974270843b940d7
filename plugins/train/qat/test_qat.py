"""The loss against its definition, and the edits against the settings."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from prunery.errors import PruneryError
from prunery.registry import registry


def qat(**settings):
    return registry().configured("train", "qat", settings)


def test_loss_is_the_mean_cross_entropy_of_each_replica():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(3, 7, 5, generator=generator)
    labels = torch.randint(5, (3, 7), generator=generator)
    chosen = logits.log_softmax(2).gather(2, labels[..., None]).squeeze(2)
    assert torch.allclose(qat().loss(logits, labels, None), -chosen.mean(1), atol=1e-6)


def test_settings_reach_the_layers():
    network = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    options = {"averaging": 0.1, "weight_scales": "channel", "zero_point": "rounded"}
    (edit,) = qat(**options).edits(network, torch.zeros(1, 4))
    assert edit["edit"] == "fake_quantize"
    common = {"bits": 8, **options}
    assert edit["layers"] == {
        "0.weight": {**common, "rectified": True, "source": None},
        "2.weight": {**common, "rectified": False, "source": "0.weight"},
    }
    assert type(network[0]) is nn.Linear


@pytest.mark.parametrize("settings", [{"bits": 4}, {"epochs": 0}, {"averaging": 0}, {"weight_scales": "row"}])
def test_what_cannot_be_is_refused(settings):
    with pytest.raises(PruneryError, match=f"train method 'qat', setting '{next(iter(settings))}'"):
        qat(**settings)
