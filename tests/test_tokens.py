"""Matching, merging and restoring tokens against loops over single tokens."""

from __future__ import annotations

import pytest
import torch

from prunery.tokens import match, merge, most, restore

CASES = [(5, 1, 2), (8, 0, 4), (17, 1, 8), (9, 2, 3), (12, 3, 4), (6, 1, 1)]


def draw(count, batch=3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    tokens, keys = (torch.randn(batch, count, width, generator=generator) for width in (4, 6))
    return tokens, keys, torch.randint(1, 5, (batch, count, 1), generator=generator).float()


def naive(keys, merged, prefix):
    """Which tokens each token that is left stands for, in the order of the result, for one sequence."""
    count = len(keys)
    even, odd = range(0, count, 2), range(1, count, 2)
    pairs = []
    for i in even:
        likes = [(float(keys[i] @ keys[j] / keys[i].norm() / keys[j].norm()), -j) for j in odd if j >= prefix]
        if i >= prefix:
            similarity, place = max(likes)
            pairs.append((-similarity, i, -place))
    joins = {i: j for _, i, j in sorted(pairs)[:merged]}
    groups = {k: [k, *(i for i, j in joins.items() if j == k)] for k in range(count) if k not in joins}
    first = list(range(prefix))
    rest = [k for side in (even, odd) for k in side if k in groups and k >= prefix]
    return [sorted(groups[k]) for k in first + rest]


@pytest.mark.parametrize(("count", "prefix", "merged"), CASES)
def test_merging_is_that_of_loops(count, prefix, merged):
    tokens, keys, sizes = draw(count)
    matching = match(keys, merged, prefix)
    left, weights = merge(matching, tokens, sizes)
    places = matching.places()
    back = restore(left, places)
    assert left.shape == (3, count - merged, 4)
    for sequence in range(3):
        for place, group in enumerate(naive(keys[sequence], merged, prefix)):
            share = sizes[sequence, group] / sizes[sequence, group].sum()
            torch.testing.assert_close(left[sequence, place], (share * tokens[sequence, group]).sum(0))
            assert float(weights[sequence, place]) == float(sizes[sequence, group].sum())
            assert places[sequence, group].tolist() == [place] * len(group)
            assert all(torch.equal(back[sequence, token], left[sequence, place]) for token in group)


def test_nothing_is_lost():
    tokens, keys, sizes = draw(16)
    left, weights = merge(match(keys, 5, 1), tokens, sizes)
    torch.testing.assert_close((left * weights).sum(1), (tokens * sizes).sum(1))
    assert torch.equal(weights.sum(1), sizes.sum(1))


def test_the_prefix_stays_itself_even_where_it_is_the_best_match():
    tokens, keys, sizes = draw(9)
    keys[:, 1:] = keys[:, :1] + 0.001 * keys[:, 1:]  # everything is like the class token
    for prefix in (1, 2):
        left, _ = merge(match(keys, 3, prefix), tokens, sizes)
        torch.testing.assert_close(left[:, :prefix], tokens[:, :prefix])


def test_how_many_can_go():
    assert [most(count, prefix) for count, prefix in ((197, 1), (198, 2), (4, 0), (3, 2), (1, 1), (0, 1))] == [
        98, 98, 2, 0, 0, 0,
    ]  # fmt: skip
    tokens, keys, sizes = draw(11)
    assert merge(match(keys, most(11, 1), 1), tokens, sizes)[0].isfinite().all()


def test_half_precision_weighs_in_single_precision():
    tokens, keys, _ = draw(6, batch=1)
    sizes = torch.full((1, 6, 1), 300.0)  # bf16 has no 900
    left, weights = merge(match(keys, 2, 0), tokens.bfloat16(), sizes)
    assert left.dtype == torch.bfloat16
    assert float(weights.sum()) == 1800
    wanted, _ = merge(match(keys, 2, 0), tokens, sizes)
    torch.testing.assert_close(left.float(), wanted, rtol=0.02, atol=0.02)


def test_gradients_reach_every_token_and_stop_at_the_matching():
    tokens, keys, sizes = draw(8)
    tokens.requires_grad_()
    keys.requires_grad_()
    left, weights = merge(match(keys, 3, 1), tokens, sizes)
    (left * weights).sum().backward()
    torch.testing.assert_close(tokens.grad, sizes.expand_as(tokens))
    assert keys.grad is None
