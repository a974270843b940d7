"""L2 norms by hand."""

import pytest
import torch
from prunery_plugins.score.l2.core import l2_norms


def test_the_root_of_the_sum_of_squares():
    weight = torch.tensor([[[[1.0, -2.0]], [[0.0, 2.0]]], [[[-3.0, 0.0]], [[0.0, 4.0]]]])
    assert l2_norms(weight).tolist() == pytest.approx([3.0, 5.0])
