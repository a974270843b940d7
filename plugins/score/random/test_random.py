"""Random scores: uniform, and the generator's own."""

import torch
from prunery_plugins.score.random.core import drawn


def test_uniform_and_repeatable():
    first, second = (drawn(4000, torch.Generator().manual_seed(seed)) for seed in (1, 2))
    assert torch.equal(first, drawn(4000, torch.Generator().manual_seed(1)))
    assert not torch.equal(first, second)
    assert 0 <= float(first.min()) < 0.01
    assert abs(float(first.mean()) - 0.5) < 0.02
