"""Each inequality is an equality, or close to one, somewhere: there a constant that is too small breaks it."""

from dataclasses import replace

import pytest
import torch
from prunery_plugins.evaluate.certificate import gaussian as noise
from prunery_plugins.evaluate.certificate import inequalities as theory
from prunery_plugins.evaluate.certificate.inequalities import Chain, Course, Penalty
from prunery_plugins.evaluate.certificate.parts import Parts
from prunery_plugins.evaluate.certificate.segment import segments
from torch import nn

THETAS = torch.tensor([0.0, 0.5], dtype=torch.float64)
KEPT = torch.tensor([[1.0, 0.0, -2.0], [0.0, 3.0, 0.0]], dtype=torch.float64)
REMOVED = torch.tensor([[0.0, 0.5, 0.0], [-0.25, 0.0, 0.0]], dtype=torch.float64)
PENALTY = Penalty(0.3, 0.2)


def course(start, end, label=0):
    """Logits that move evenly: the rest of the network is linear, so that the largest move is the reach."""
    start, end = (torch.tensor([logits], dtype=torch.float64) for logits in (start, end))
    labels = torch.tensor([label])
    step = start - end
    logits = torch.stack([start - (1 - theta) * step for theta in THETAS])
    slope = ((start.softmax(1) - nn.functional.one_hot(labels, start.shape[1])) * step).sum(1)
    return Course(THETAS, logits, start, labels, step.abs().amax(1), slope)


def scaled(found, factor):
    return replace(found, reach=factor * found.reach)


LOST = course([-20.0, 20.0], [-60.0, 60.0])  # sure and wrong, ever more: loss grows by twice the largest move
STILL = course([1.0, -1.0, 0.5], [1.0, -1.0, 0.5])  # nothing moves: what is left is the penalty


def test_loss_moves_by_twice_the_reach():
    found = theory.loss_bound(LOST)
    assert found.holds
    assert found.slack == pytest.approx(0, abs=1e-6)
    assert LOST.budget == 80
    assert not theory.loss_bound(scaled(LOST, 0.99)).holds


def test_loss_of_one_sample_may_not_hide_behind_another():
    both = Course(
        THETAS, LOST.logits.repeat(1, 2, 1), LOST.start.repeat(2, 1), LOST.labels.repeat(2),
        LOST.reach * torch.tensor([0.9, 2]), LOST.slope.repeat(2),
    )  # fmt: skip
    assert theory.loss_bound(both).slack > 0
    assert not theory.loss_bound(both).holds


def test_predictions_change_within_twice_the_reach():
    flipped = course([1.0, -1.0], [-1.01, 1.01])
    assert theory.margin_bound(flipped).holds
    assert not theory.margin_bound(scaled(flipped, 0.9)).holds
    assert theory.predicted_margin(flipped.start).tolist() == [2.0]
    assert theory.true_margin(torch.tensor([[1.0, 4.0, 2.0]]), torch.tensor([2])).tolist() == [-2.0]
    assert theory.certain(scaled(flipped, 0.5)).tolist() == [False]
    assert theory.certain(scaled(flipped, 0.49)).tolist() == [True]


def test_frobenius_is_an_equality_where_nothing_moves():
    removed = REMOVED + 0.5 * KEPT  # a weight in both parts: the cross term counts
    found = theory.frobenius(STILL, KEPT, removed, 0.3)
    assert found.holds
    assert found.slack == pytest.approx(0, abs=1e-12)
    assert not theory.frobenius(scaled(LOST, 0.99), KEPT, removed, 0.3).holds
    assert theory.frobenius(LOST, KEPT, removed, 0.3).holds


def test_elastic_net_wants_parts_without_common_entries():
    assert theory.elastic_net(STILL, KEPT, REMOVED, PENALTY).slack == pytest.approx(0, abs=1e-12)
    assert theory.is_mask(KEPT, REMOVED)
    against = REMOVED - 0.5 * KEPT  # what is left is larger than what was there
    assert not theory.is_mask(KEPT, against)
    assert not theory.elastic_net(STILL, KEPT, against, PENALTY).holds
    assert theory.elastic_net(LOST, KEPT, REMOVED, PENALTY).holds
    assert not theory.elastic_net(scaled(LOST, 0.99), KEPT, REMOVED, PENALTY).holds


def test_penalties_by_hand():
    assert PENALTY.of(REMOVED) == pytest.approx(0.3 * (0.25 + 0.0625) + 0.2 * 0.75)
    assert PENALTY.saved(REMOVED, 0.5) == pytest.approx(0.75 * 0.3 * 0.3125 + 0.5 * 0.2 * 0.75)
    weighted = Penalty(torch.arange(6.0).reshape(2, 3), torch.ones(2, 3))
    assert weighted.of(REMOVED) == pytest.approx(1 * 0.25 + 3 * 0.0625 + 0.75)
    assert theory.elastic_net(STILL, KEPT, REMOVED, weighted).slack == pytest.approx(0, abs=1e-6)


def test_restoring_pays_if_the_budget_falls_by_more_than_the_penalty_rises():
    parts = Parts(KEPT, REMOVED).over_pruned(1 / 6)
    restored = parts.removed - REMOVED
    assert restored.tolist() == [[1, 0, 0], [0, 0, 0]]  # the smallest that was left
    cost = PENALTY.of(restored)
    assert cost == pytest.approx(0.5)
    for more, pays in ((0.9, False), (1.1, True)):
        other = replace(LOST, reach=LOST.reach + more * cost / 2)
        gain = theory.restoration_gain(LOST, other, restored, PENALTY)
        assert gain == pytest.approx((more - 1) * cost)
        assert (gain > 0) is pays
        assert theory.restoring(LOST, other, (parts.kept, restored, REMOVED), PENALTY).holds
    wrong = scaled(LOST, 0.99)
    assert not theory.restoring(wrong, LOST, (parts.kept, restored, REMOVED), PENALTY).holds
    assert not theory.restoring(LOST, wrong, (parts.kept, restored, REMOVED), PENALTY).holds


def test_stationarity_breaks_with_a_constant_too_small():
    heavy = Penalty(1000.0, 10.0)
    assert LOST.slope.tolist() == pytest.approx([-80], rel=1e-6)
    found = theory.stationarity(LOST, KEPT, REMOVED, heavy)
    assert found.holds
    assert found.slack == pytest.approx(0, abs=1e-5)
    assert not theory.stationarity(scaled(LOST, 0.99), KEPT, REMOVED, heavy).holds
    against = 0.5 * KEPT - REMOVED  # not a mask: the penalty falls more slowly than the norms say
    assert not theory.stationarity(LOST, against - REMOVED, REMOVED, heavy).holds


def test_the_penaltys_slope_is_that_of_a_difference():
    step, whole = 1e-6, KEPT + REMOVED
    difference = (PENALTY.of(whole) - PENALTY.of(whole - step * REMOVED)) / step
    assert PENALTY.slope(whole, REMOVED) == pytest.approx(difference, rel=1e-5)
    assert PENALTY.slope(whole, REMOVED) == pytest.approx(2 * 0.3 * 0.3125 + 0.2 * 0.75)


def test_layers_after_each_other():
    chain = Chain(LOST.start, LOST.logits[0], LOST.labels, LOST.reach, fallen=2.0, saved=2.0)
    found = theory.layer_by_layer(chain)
    assert found.holds
    assert found.slack == pytest.approx(0, abs=1e-6)
    assert not theory.layer_by_layer(replace(chain, reach=0.99 * chain.reach)).holds
    assert not theory.layer_by_layer(replace(chain, saved=3.0)).holds


def drawn(monkeypatch=None, factor=1.0, layer=None, shape=(40, 1)):
    layer = layer or nn.Linear(1, 1, bias=False)
    layer, inputs = layer.double(), torch.ones(shape, dtype=torch.float64)
    if monkeypatch:
        plain = noise.Noise.factor
        monkeypatch.setattr(noise.Noise, "factor", lambda self, *given: factor * plain(self, *given))
    found = list(
        segments(
            layer if len(shape) == 2 else nn.Sequential(layer, nn.Flatten()),
            layer,
            inputs,
            torch.ones_like(layer.weight),
            16,
        )
    )
    return noise.gaussian(found, torch.ones(shape[0]).double(), torch.ones_like(layer.weight), (400, 0.05, 0))


@torch.no_grad()
def test_noise_stays_below_its_bound_and_not_below_a_third_of_it(monkeypatch):
    verdict, bound = drawn()
    assert verdict.holds
    assert bound == pytest.approx(2 * (2 * torch.log(torch.tensor(2 * 40 / 0.05))).sqrt().item(), rel=1e-6)
    assert not drawn(monkeypatch, 1 / 3)[0].holds


@torch.no_grad()
def test_noise_in_convolutions_and_its_edge():
    """The longest patch of ones is the whole kernel of a group; noise of ones has g = n."""
    layer = nn.Conv2d(4, 6, 3, padding=1, groups=2, bias=False)
    verdict, bound = drawn(layer=layer, shape=(3, 4, 5, 5))
    assert verdict.holds
    outputs = 3 * 6 * 25
    expected = 2 * 18**0.5 * (2 * torch.log(torch.tensor(2 * outputs / 0.05))).sqrt().item()
    assert bound == pytest.approx(expected, rel=1e-6)
    assert noise.Noise(100, 25, 4.0).edge == pytest.approx(2 * 1.5)
