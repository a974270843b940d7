"""L1 norms by hand."""

import torch
from prunery_plugins.score.l1.core import l1_norms


def test_the_sum_of_magnitudes():
    weight = torch.tensor([[[[1.0, -2.0]], [[0.0, 4.0]]], [[[-1.0, 0.0]], [[0.0, 0.5]]]])
    assert l1_norms(weight).tolist() == [7.0, 1.5]
