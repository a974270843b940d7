"""Smoothed labels against a plain sum."""

from __future__ import annotations

import math

import pytest
import torch

from prunery.errors import PruneryError
from prunery.registry import registry


def test_the_loss_by_hand():
    logits, label = [2.0, 0.0, -1.0, 0.5], 1
    share = math.log(sum(map(math.exp, logits)))
    smoothed = [0.1 / 4 + (0.9 if index == label else 0.0) for index in range(4)]
    wanted = sum(weight * (share - logit) for weight, logit in zip(smoothed, logits, strict=True))
    method = registry().configured("distill", "label_smoothing", {})
    assert not method.teacher
    assert method.loss(torch.tensor([[logits]]), torch.tensor([[label]]), None).item() == pytest.approx(
        wanted, rel=1e-6
    )


def test_without_smoothing_it_is_another_method():
    with pytest.raises(PruneryError, match="label_smoothing"):
        registry().configured("distill", "label_smoothing", {"label_smoothing": 0})
