"""The method `columns`: Prunery's contract, and one case by hand."""

import torch
from prunery_columns import Columns

from prunery.testing import MethodContract


class TestColumns(MethodContract):
    method = Columns


def test_a_weight_from_a_strong_input_stays_before_a_larger_one_from_a_weak_input():
    weight = torch.tensor([[1.0, 2.0], [9.0, 0.1]])  # scores 9.06, 4.00; 81.5, 0.20
    masks = [Columns(Columns.Settings(sparsity=share)).mask("fc", weight, {}, None) for share in (0.25, 0.5)]
    assert masks[0].tolist() == [[True, True], [True, False]]
    assert masks[1].tolist() == [[True, False], [True, False]]
