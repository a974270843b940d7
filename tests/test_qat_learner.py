"""What training and fine-tuning under simulated quantization share: the loss, the edits, what is refused."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from prunery.errors import PruneryError
from prunery.registry import registry

pytestmark = pytest.mark.parametrize("stage", ["train", "finetune"])


def qat(stage, **settings):
    return registry().configured(stage, "qat", settings)


def test_loss_is_the_mean_cross_entropy_of_each_replica(stage):
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(3, 7, 5, generator=generator)
    labels = torch.randint(5, (3, 7), generator=generator)
    chosen = logits.log_softmax(2).gather(2, labels[..., None]).squeeze(2)
    assert torch.allclose(qat(stage).loss(logits, labels, None), -chosen.mean(1), atol=1e-6)


@pytest.mark.parametrize("bits", [8, 4])
def test_settings_reach_the_layers(stage, bits):
    network = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    options = {"averaging": 0.1, "weight_scales": "channel", "zero_point": "rounded", "bits": bits}
    (edit,) = qat(stage, **options).edits(network, torch.zeros(1, 4))
    assert edit["edit"] == "fake_quantize"
    assert edit["layers"] == {
        "0.weight": {**options, "rectified": True, "source": None},
        "2.weight": {**options, "rectified": False, "source": "0.weight"},
    }
    assert type(network[0]) is nn.Linear


def test_formats_reach_the_layers(stage):
    network = nn.Sequential(*(nn.Linear(4, 4) for _ in range(4)))
    options = {"group": 16, "clip": 99.9, "lowest": "full"}
    settings = {"format": "int4", "first_last": "fp16", "formats": {"2.*": "fp32"}, **options}
    (edit,) = qat(stage, **settings).edits(network, torch.zeros(1, 4))
    cast = {"format": "fp16", "group": None, "clip": None, "lowest": "symmetric"}
    assert edit["layers"] == {"0.weight": cast, "1.weight": {"format": "int4", **options}, "3.weight": cast}


@pytest.mark.parametrize(
    "settings", [{"bits": 2}, {"epochs": 0}, {"averaging": 0}, {"weight_scales": "row"}, {"format": "int3"}]
)
def test_what_cannot_be_is_refused(stage, settings):
    with pytest.raises(PruneryError, match=f"{stage} method 'qat', setting '{next(iter(settings))}'"):
        qat(stage, **settings)


@pytest.mark.parametrize("settings", [{"formats": {"a": "int4"}}, {"group": 32}, {"clip": 99}, {"first_last": "fp16"}])
def test_formats_without_a_common_one_are_refused(stage, settings):
    with pytest.raises(PruneryError, match=f"{stage} method 'qat'.*{next(iter(settings))} goes with a format"):
        qat(stage, **settings)
