"""The loss against the definition of smoothed cross-entropy."""

from __future__ import annotations

import pytest
import torch

from prunery.registry import registry


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_loss_is_the_mean_cross_entropy_of_each_replica(smoothing):
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(3, 7, 5, generator=generator)
    labels = torch.randint(5, (3, 7), generator=generator)
    method = registry().configured("finetune", "supervised", {"label_smoothing": smoothing})
    target = torch.full((3, 7, 5), smoothing / 5)
    target.scatter_add_(2, labels[..., None], torch.full((3, 7, 1), 1 - smoothing))
    naive = -(target * (logits.exp() / logits.exp().sum(2, keepdim=True)).log()).sum(2).mean(1)
    assert torch.allclose(method.loss(logits, labels, None), naive, atol=1e-6)
