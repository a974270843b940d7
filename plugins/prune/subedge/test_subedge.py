"""Which singular values go, and that the others stay."""

import numpy as np
import pytest
import torch
from prunery_plugins.prune.subedge.core import lowered

from prunery.prune import generator_of
from prunery.registry import registry


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("shape", [(20, 50), (50, 20), (20, 5, 3, 3)])
@pytest.mark.parametrize("share", [0.1, 0.5, 1.0])
def test_the_smallest_below_the_edge_go(shape, share):
    weight = draw(*shape)
    left, values, right = np.linalg.svd(weight.flatten(1).double().numpy(), full_matrices=False)
    edge = (values[4] + values[5]) / 2  # 15 lie below
    stay = 20 - int(share * 15 + 0.5)
    found = lowered(weight, edge, share)
    assert (found.shape, found.dtype) == (weight.shape, weight.dtype)
    wanted = (left[:, :stay] * values[:stay]) @ right[:stay]
    np.testing.assert_allclose(found.flatten(1).numpy(), wanted, atol=1e-5)


def test_nothing_below_the_edge_changes_nothing():
    weight = draw(20, 50)
    assert torch.equal(lowered(weight, 1e-3, 1.0), weight)


def test_repeated_with_a_growing_share_it_goes_on():
    """As in the published schedule: 2 % of what lies below the edge, then 4 %, ..."""
    weight, ranks = draw(100, 120), []
    for share in (0.02, 0.04, 0.06):
        weight = lowered(weight, 30.0, share)
        ranks.append(int(np.linalg.matrix_rank(weight.numpy(), tol=1e-3)))
    assert ranks == [98, 96, 94]


def test_layers_without_a_fit_are_left_alone():
    weights = {"a": draw(20, 50), "b": draw(20, 50)}
    method = registry().configured("prune", "subedge", {"share": 0.25})
    found = method.project(weights, {}, {"mp": {"a": {"sigma_plus": 100.0}}}, generator_of(0))
    assert torch.equal(found["b"].weight, weights["b"])
    assert np.linalg.matrix_rank(found["a"].weight.numpy(), tol=1e-4) == 15
    assert found["a"].mask is found["a"].permutation is None
