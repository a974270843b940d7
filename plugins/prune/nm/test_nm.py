"""Numbers of k:n pruning against loops over groups."""

import itertools

import pytest
import torch
from prunery_plugins.prune.nm.core import nm_mask, wanda_scores

from prunery.errors import PruneryError
from prunery.prune import generator_of
from prunery.registry import registry


def masks(weights, measured=None, **settings):
    return registry().configured("prune", "nm", settings).masks(weights, measured or {}, generator_of(0))


def naive_groups(shape, group, layout):
    """Lists of index tuples, one list per full group of neighbours."""
    outs, ins, *kernel = shape
    for out in range(outs):
        positions = list(itertools.product(*map(range, kernel)))
        if layout == "channels":
            lines = [[(out, c, *p) for c in range(ins)] for p in positions]
        else:
            lines = [[(out, c, *p) for c in range(ins) for p in positions]]
        for line in lines:
            for start in range(0, len(line) - group + 1, group):
                yield line[start : start + group]


def naive(scores, keep, group, layout):
    mask = torch.ones(scores.shape, dtype=torch.bool)
    for members in naive_groups(scores.shape, group, layout):
        for index in sorted(members, key=lambda index: float(scores[index]))[: group - keep]:
            mask[index] = False
    return mask


@pytest.mark.parametrize("layout", ["channels", "im2col"])
@pytest.mark.parametrize("shape", [(5, 16), (3, 10), (4, 8, 3, 3), (2, 6, 3, 2)])
@pytest.mark.parametrize(("keep", "group"), [(2, 4), (1, 4), (4, 8), (2, 3)])
def test_masks_are_those_of_loops(layout, shape, keep, group):
    scores = torch.randn(shape, generator=torch.Generator().manual_seed(1)).mul(2).round().abs()  # with ties
    assert torch.equal(nm_mask(scores, keep, group, layout), naive(scores, keep, group, layout))


def test_by_eye():
    weight = torch.tensor([[1.0, -4.0, 3.0, 2.0, 0.0, 0.0, 0.0, 5.0]])
    assert masks({"a": weight})["a"].int().tolist() == [[0, 1, 1, 0, 0, 0, 1, 1]]


def test_odd_inputs_are_skipped_or_keep_a_dense_tail(caplog):
    weights = {"odd": torch.ones(2, 6), "even": torch.ones(2, 8)}
    with caplog.at_level("DEBUG", "prunery"):
        assert list(masks(weights)) == ["even"]
    assert caplog.messages == ["prune method nm leaves dense: odd"]
    assert list(masks({**weights, "few": torch.ones(2, 3)}, tail="dense")) == ["odd", "even"]
    dense = masks(weights, tail="dense")["odd"]
    assert dense.int().tolist() == [[0, 0, 1, 1, 1, 1]] * 2


def test_layout_decides_which_convolutions_fit():
    stem, depthwise = torch.ones(4, 3, 2, 2), torch.ones(8, 1, 3, 3)
    with pytest.raises(PruneryError, match="groups of 4: choose a smaller group"):
        masks({"stem": stem, "depthwise": depthwise})
    assert list(masks({"stem": stem, "depthwise": depthwise}, layout="im2col")) == ["stem"]


def test_wanda_by_eye_and_by_loops():
    weight = torch.tensor([[1.0, 2.0, 3.0, 4.0]])
    moment = torch.tensor([100.0, 1.0, 4.0, 1.0])  # scores 10, 2, 6, 4
    assert wanda_scores(weight, moment).tolist() == [[10.0, 2.0, 6.0, 4.0]]
    rows = {"activations": {"a": {"input_second_moment": moment}}}
    assert masks({"a": weight}, rows, score="wanda")["a"].tolist() == [[True, False, True, False]]
    kernel, patch = torch.randn(2, 4, 3, 3), torch.rand(36)
    found = wanda_scores(kernel, patch)
    for o, c, i, j in itertools.product(range(2), range(4), range(3), range(3)):
        wanted = float(kernel[o, c, i, j].abs()) * float(patch[c * 9 + i * 3 + j]) ** 0.5
        assert float(found[o, c, i, j]) == pytest.approx(wanted, rel=1e-6)
    assert torch.equal(wanda_scores(kernel, patch[:4]), kernel.abs() * patch[:4].sqrt().reshape(1, 4, 1, 1))
    with pytest.raises(PruneryError, match="7 entries, wanted 4 or 36"):
        wanda_scores(kernel, patch[:7])


def test_settings_that_prune_nothing_are_refused():
    with pytest.raises(PruneryError, match="keep must be below group"):
        masks({"a": torch.ones(2, 8)}, keep=4)
    with pytest.raises(PruneryError, match="takes no amount"):
        registry().configured("prune", "nm", {}, amount=0.5)


def test_needs_follow_the_score():
    assert registry().configured("prune", "nm", {}).needs() == ()
    assert registry().configured("prune", "nm", {"score": "wanda"}).needs() == ("calibrate=activations",)
