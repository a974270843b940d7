"""Ranks, edits, and networks with factors: what they compute, count and survive."""

import pytest
import torch
from prunery_plugins.prune.factorize.core import rank_of, saves
from torch import nn

from prunery import PruneryError
from prunery.edits import replay
from prunery.factors import Factors, factorable, factors_edit, truncated
from prunery.layers import weights
from prunery.prune import generator_of, prune
from prunery.registry import registry
from prunery.sizes import sizes
from prunery.toys import toy_checkpoint, toy_images, toy_registered


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def configured(**settings):
    return registry().configured("prune", "factorize", settings)


@pytest.fixture(name="lowered")
def make_lowered():
    """A toy network whose first `Linear` (16 x 32) has rank 5 and whose last one (4 x 16) has rank 3."""
    parent = toy_checkpoint((0,))
    for key, rank in {"5.weight": 5, "7.weight": 3}.items():
        weight = parent.networks[0].get_parameter(key)
        weight.data = draw(weight.shape[0], rank) @ draw(rank, weight.shape[1], seed=1) / 10
    return parent


def test_when_two_factors_are_smaller():
    assert saves(15, 30, 30) is False
    assert saves(14, 30, 30) is True
    assert saves(1, 1, 9) is False


def test_ranks_by_each_rule():
    left, right = torch.linalg.qr(draw(20, 4)).Q, torch.linalg.qr(draw(30, 4, seed=1)).Q
    weight = left @ torch.diag(torch.tensor([4.0, 2.0, 1.0, 1e-7])) @ right.T
    assert rank_of(weight, configured().settings, None) == 3
    assert rank_of(weight, configured(tolerance=0.3).settings, None) == 2
    assert rank_of(weight, configured(rank="energy", energy=0.76).settings, None) == 1  # 16 of 21
    assert rank_of(weight, configured(rank="energy", energy=0.77).settings, None) == 2
    assert rank_of(weight, configured(rank="sigma_plus").settings, 1.5) == 2
    assert rank_of(weight, configured(rank="sigma_plus").settings, 9.0) == 1


def test_truncated_factors_are_the_best_of_their_rank():
    weight = draw(20, 30)
    left, right = truncated(weight, 6)
    values = torch.linalg.svdvals(weight.double())
    assert float((weight - left @ right).norm() ** 2) == pytest.approx(float((values[6:] ** 2).sum()), rel=1e-5)
    torch.testing.assert_close((left.T @ left).diagonal(), values[:6])  # each factor has the roots
    torch.testing.assert_close((right @ right.T).diagonal(), values[:6])


def test_a_network_of_low_rank_computes_the_same_with_fewer_parameters(lowered):
    dense, spec = lowered.networks[0], lowered.origin.spec
    inputs = next(toy_images().batches("test", 16))[0]
    child = prune(configured(), lowered, {})[0]
    assert child.edits == [{"edit": "factors", "ranks": {"5.weight": 5, "7.weight": 3}}]
    with torch.no_grad():
        torch.testing.assert_close(child.network(inputs), dense(inputs), rtol=1e-4, atol=1e-5)
    saved = 16 * 32 - 5 * (16 + 32) + 4 * 16 - 3 * (4 + 16)
    before, after = sizes(dense, spec), sizes(child.network, spec)
    assert before["parameters"] - after["parameters"] == before["macs"] - after["macs"] == saved
    assert {"5.right.weight", "5.left.weight"} <= set(weights(child.network))
    factors = child.network.get_submodule("5")
    assert isinstance(factors, Factors)
    assert (factors.in_features, factors.out_features) == (32, 16)
    torch.testing.assert_close(factors.weight, dense.get_parameter("5.weight"), rtol=1e-4, atol=1e-5)
    assert torch.equal(factors.bias, dense.get_parameter("5.bias"))


def test_factors_can_be_pruned_like_other_layers(lowered):
    child = lowered.child(prune(configured(), lowered, {}), {})
    with toy_registered():
        again = prune(registry().configured("prune", "magnitude", {"sparsity": 0.5}), child, {})[0]
    assert "5.left.weight/mask" in again.network.state_dict()
    assert sizes(again.network, child.origin.spec)["weight_sparsity"] == pytest.approx(0.5, abs=0.01)


def test_edges_come_from_the_fit(lowered):
    rows = {"mp": {"5.weight": {"sigma_plus": 1e-6}, "7.weight": {"fitted": False}}}
    found = configured(rank="sigma_plus").edits(
        lowered.networks[0], lowered.origin.spec.example(2), rows, generator_of(0)
    )
    assert found == [factors_edit({"5.weight": 5})] or found[0]["ranks"].keys() == {"5.weight"}
    assert configured(rank="sigma_plus").needs() == ("spectral_fit=mp",)
    assert configured().needs() == ()


def test_full_ranks_are_refused_in_one_line():
    with pytest.raises(PruneryError, match="no layer's rank is low enough for two factors to save parameters") as told:
        prune(configured(), toy_checkpoint((0,)), {})
    assert "\n" not in str(told.value)


def test_masked_tied_and_unused_layers_are_left_alone():
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second, self.third = (nn.Linear(8, 8) for _ in range(3))
            self.unused, self.masked = nn.Linear(8, 8), nn.Linear(8, 8)
            self.second.weight = self.first.weight
            self.masked.register_buffer("weight/mask", torch.eye(8, dtype=torch.bool))

        def forward(self, x):
            return self.masked(self.third(self.second(self.first(x))))

    assert list(factorable(Tied(), torch.zeros(2, 8))) == ["third.weight"]


def test_shapes_alone_leave_values_to_be_filled_in(lowered):
    edit = factors_edit({"5.weight": 5})
    shaped, filled = (replay(toy_checkpoint((0,)).networks[0], [edit], values) for values in (False, True))
    assert {k: v.shape for k, v in shaped.state_dict().items()} == {k: v.shape for k, v in filled.state_dict().items()}
    assert not shaped.get_parameter("5.left.weight").any()
    with pytest.raises(TypeError, match="has no factors of rank 99"):
        replay(toy_checkpoint((0,)).networks[0], [factors_edit({"5.weight": 99})])
