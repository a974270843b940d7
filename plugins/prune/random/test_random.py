"""Numbers of random pruning: exact counts, uniform choice, zeros first."""

import torch

from prunery.prune import generator_of
from prunery.registry import registry


def masks(weights, seed=0, **settings):
    return registry().configured("prune", "random", settings).masks(weights, {}, generator_of(seed))


def test_counts_are_exact_and_layers_give_their_share():
    weights = {"a": torch.ones(200, 100), "b": torch.ones(100, 100)}
    dropped = {key: int((~mask).sum()) for key, mask in masks(weights, sparsity=0.3).items()}
    assert sum(dropped.values()) == 9000
    deviation = (30_000 * 0.3 * 0.7 * (1 / 3) * (2 / 3)) ** 0.5  # of the hypergeometric law
    assert abs(dropped["a"] - 6000) < 4 * deviation
    each = masks(weights, sparsity=0.3, scope="layer")
    assert [int((~mask).sum()) for mask in each.values()] == [6000, 3000]


def test_the_choice_ignores_the_values():
    weight = torch.linspace(-1, 1, 10_000)
    kept = weight[masks({"a": weight}, sparsity=0.5)["a"]]
    assert abs(float(kept.mean())) < 4 * 0.577 / 10_000**0.5


def test_weights_drawn_from_the_same_seed_are_no_guide():
    weight = torch.rand(10_000, generator=torch.Generator().manual_seed(3))
    kept = weight[masks({"a": weight}, seed=3, sparsity=0.5)["a"]]
    assert abs(float(kept.mean()) - 0.5) < 0.02


def test_zeros_go_first_so_repeated_masks_are_nested():
    weight = torch.ones(40, 10)
    first = masks({"a": weight}, seed=1, sparsity=0.25)["a"]
    second = masks({"a": weight * first}, seed=2, sparsity=0.75)["a"]
    assert int((~second).sum()) == 300
    assert not (second & ~first).any()


def test_seeds_decide():
    weights = {"a": torch.ones(30, 30)}
    assert torch.equal(masks(weights, seed=4)["a"], masks(weights, seed=4)["a"])
    assert not torch.equal(masks(weights, seed=4)["a"], masks(weights, seed=5)["a"])
