"""Projections against closed forms."""

import pytest
import torch
from prunery_plugins.score.spectral.core import projected_norms


def test_all_directions_give_the_norm_of_the_row():
    weight = torch.randn(5, 2, 3, 3, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(projected_norms(weight, 1.0), weight.flatten(1).norm(dim=1))


def test_rows_off_the_leading_direction_score_nothing():
    weight = torch.tensor([[3.0, 0.0, 0.0], [4.0, 0.0, 0.0], [0.0, 1.0, 0.0]])  # squares 25 and 1
    assert projected_norms(weight, 0.9).tolist() == pytest.approx([3.0, 4.0, 0.0], abs=1e-6)
    assert projected_norms(weight, 0.99).tolist() == pytest.approx([3.0, 4.0, 1.0], abs=1e-6)


def test_a_layer_of_zeros_has_no_direction():
    assert projected_norms(torch.zeros(3, 4), 0.9).tolist() == [0.0, 0.0, 0.0]
