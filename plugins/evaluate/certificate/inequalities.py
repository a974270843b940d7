"""The inequalities between what a removed part may cost and what it does cost, as checks that can fail.

A = S + R is one layer's weight, R what is removed, A(theta) = S + theta R. Every check takes the samples of a `Course`
as one set, and each by itself as a set of its own. Numbers are those of the paper's deterministic certificates.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

TOLERANCE = 1e-7
"""By how much, relative to both sides, a left side may exceed the right: pieces of a line that are too short to be seen
(`exact.SHORTEST`), and rounding."""


@dataclass(frozen=True)
class Verdict:
    """`slack`: right side minus left side over all samples, the least of all theta; `holds`: nowhere below zero."""

    slack: float
    holds: bool


@dataclass(frozen=True)
class Course:
    """What happens to samples while theta falls from 1.

    `thetas` lie below 1; `start` are the logits at theta 1, `logits` those at each of `thetas`. `reach` bounds by how
    much any logit moves: L_s max |R x|, so that the budget is twice its mean. `slope` is the derivative of each
    sample's cross-entropy by theta at 1.
    """

    thetas: Float[Tensor, " points"]
    logits: Float[Tensor, "points samples classes"]
    start: Float[Tensor, "samples classes"]
    labels: Int[Tensor, " samples"]
    reach: Float[Tensor, " samples"]
    slope: Float[Tensor, " samples"]

    @property
    def budget(self) -> float:
        """B_T(R) (equation 8)."""
        return 2 * float(self.reach.mean())

    @property
    def rises(self) -> Float[Tensor, "points samples"]:
        """By how much cross-entropy lies above that at theta 1."""
        return torch.stack([losses(logits, self.labels) for logits in self.logits]) - losses(self.start, self.labels)


@dataclass(frozen=True)
class Penalty:
    """l2 |A|_F^2 + l1 |A|_1 of the objective; both may be tensors with a factor per weight."""

    l2: float | Tensor
    l1: float | Tensor

    def of(self, weight: Tensor) -> float:
        """Its value."""
        return float((self.l2 * weight.square()).sum() + (self.l1 * weight.abs()).sum())

    def slope(self, weight: Tensor, removed: Tensor) -> float:
        """Its derivative by theta at theta 1, R being part of the weight."""
        return float((2 * self.l2 * weight * removed + self.l1 * weight.sign() * removed).sum())

    def saved(self, removed: Tensor, theta: float) -> float:
        """By how much it falls from theta 1, if S and R have no entry in common."""
        shares = (1 - theta**2) * self.l2 * removed.square() + (1 - theta) * self.l1 * removed.abs()
        return float(shares.sum())


def losses(logits: Float[Tensor, "samples classes"], labels: Int[Tensor, " samples"]) -> Float[Tensor, " samples"]:
    """Each sample's cross-entropy."""
    return F.cross_entropy(logits, labels, reduction="none")


def is_mask(kept: Tensor, removed: Tensor) -> bool:
    """Whether no weight is in both parts."""
    return not bool(((kept != 0) & (removed != 0)).any())


# --- 1 and 2: loss and predictions -----------------------------------------------------------------------------------


def loss_bound(course: Course) -> Verdict:
    """1. |CE(A(theta)) - CE(A)| <= (1 - theta) B (lemma 5.1)."""
    right = 2 * (1 - course.thetas)[:, None] * course.reach
    rises = course.rises
    whole = right.mean(1) - rises.mean(1).abs()
    return Verdict(float(whole.min()), _holds(right, rises.abs()))


def margin_bound(course: Course) -> Verdict:
    """2. Predictions change only within twice the reach, accuracy by no more than the true margins within it
    (corollary 5.2)."""
    verdicts = [
        stable(course.start, logits, course.labels, (1 - theta) * course.reach)
        for theta, logits in zip(course.thetas, course.logits, strict=True)
    ]
    return Verdict(min(each.slack for each in verdicts), all(each.holds for each in verdicts))


def stable(start: Tensor, end: Tensor, labels: Tensor, reach: Float[Tensor, " samples"]) -> Verdict:
    """The same between two sets of logits, none of which lie further apart than `reach`."""
    margin, wide = predicted_margin(start), 2 * reach + TOLERANCE * (1 + reach)
    changed = start.argmax(1) != end.argmax(1)
    true = [true_margin(logits, labels) for logits in (start, end)]
    moved = (true[0].abs() <= wide).double().mean()
    slack = moved - ((true[1] > 0).double().mean() - (true[0] > 0).double().mean()).abs()
    flipped = (true[0] > 0) != (true[1] > 0)
    return Verdict(
        float(slack), bool((slack >= 0) & (margin <= wide)[changed].all() & (true[0].abs() <= wide)[flipped].all())
    )


def predicted_margin(logits: Float[Tensor, "samples classes"]) -> Float[Tensor, " samples"]:
    """By how much the largest logit leads the second."""
    best = logits.topk(2, dim=1).values
    return best[:, 0] - best[:, 1]


def true_margin(logits: Float[Tensor, "samples classes"], labels: Int[Tensor, " samples"]) -> Float[Tensor, " samples"]:
    """By how much the logit of the right class leads the best of the others."""
    own = logits.gather(1, labels[:, None])
    return (own - logits.scatter(1, labels[:, None], -torch.inf).amax(1, keepdim=True))[:, 0]


def certain(course: Course) -> Bool[Tensor, " samples"]:
    """Samples whose prediction cannot change however much of R goes."""
    return predicted_margin(course.start) > 2 * course.reach


# --- 3 to 6 and 9: the regularised objective -------------------------------------------------------------------------


def frobenius(course: Course, kept: Tensor, removed: Tensor, l2: float) -> Verdict:
    """3. CE + l2 |A|_F^2 rises by at most (1 - theta) B - l2 (1 - theta^2) |R|_F^2 - 2 l2 (1 - theta) <S, R>
    (theorem 5.3); any parts."""
    penalty, square, cross = Penalty(l2, 0.0), float(removed.square().sum()), float((kept * removed).sum())
    saved = [l2 * (1 - theta**2) * square + 2 * l2 * (1 - theta) * cross for theta in course.thetas.tolist()]
    return _objective(course, kept, removed, penalty, saved)


def elastic_net(course: Course, kept: Tensor, removed: Tensor, penalty: Penalty) -> Verdict:
    """4. The objective rises by at most (1 - theta) B - l2 (1 - theta^2) |R|_F^2 - l1 (1 - theta) |R|_1 (theorem 5.4);
    parts without a common entry. With factors per weight the norms are weighted sums (9)."""
    saved = [penalty.saved(removed, theta) for theta in course.thetas.tolist()]
    return _objective(course, kept, removed, penalty, saved)


def _objective(course: Course, kept: Tensor, removed: Tensor, penalty: Penalty, saved: Sequence[float]) -> Verdict:
    """The objective as it is, against the bound; `saved` is what the bound says of the penalty."""
    whole = penalty.of(kept + removed)
    falls = [whole - penalty.of(kept + theta * removed) for theta in course.thetas.tolist()]
    right = 2 * (1 - course.thetas)[:, None] * course.reach - course.reach.new_tensor(saved)[:, None]
    left = course.rises - course.reach.new_tensor(falls)[:, None]
    return Verdict(float((right - left).mean(1).min()), _holds(right, left))


def restoring(pruned: Course, all_pruned: Course, parts: tuple[Tensor, Tensor, Tensor], penalty: Penalty) -> Verdict:
    """5. With A = S + Q + P: 4 of P and of Q + P, and restoring Q lowers the bound where `restoration_gain` is above
    zero and only there (theorem 5.5, corollary 5.6). `parts` are S, Q, P."""
    kept, restored, gone = parts
    verdicts = [
        elastic_net(pruned, kept + restored, gone, penalty),
        elastic_net(all_pruned, kept, restored + gone, penalty),
    ]
    bounds = [pruned.budget - penalty.of(gone), all_pruned.budget - penalty.of(restored + gone)]
    gain = restoration_gain(pruned, all_pruned, restored, penalty)
    agree = (bounds[0] < bounds[1]) == (gain > 0) or abs(gain) < TOLERANCE * (1 + abs(bounds[1]))
    return Verdict(min(each.slack for each in verdicts), agree and all(each.holds for each in verdicts))


def restoration_gain(pruned: Course, all_pruned: Course, restored: Tensor, penalty: Penalty) -> float:
    """By how much restoring Q lowers the bound: B(Q + P) - B(P) - l2 |Q|_F^2 - l1 |Q|_1."""
    return all_pruned.budget - pruned.budget - penalty.of(restored)


def stationarity(course: Course, kept: Tensor, removed: Tensor, penalty: Penalty) -> Verdict:
    """6. If the objective falls no faster than epsilon as weights leave, 2 l2 |R|_F^2 + l1 |R|_1 <= B + epsilon, and
    l2 (1 + theta) |R|_F^2 + l1 |R|_1 likewise over the way to theta (theorem 5.7); epsilon is as small as it can be."""
    square, share = Penalty(penalty.l2, 0.0).of(removed), Penalty(0.0, penalty.l1).of(removed)
    whole = kept + removed
    falls = [course.slope + penalty.slope(whole, removed)]
    for theta, rise in zip(course.thetas.tolist(), course.rises, strict=True):
        falls.append((penalty.of(whole) - penalty.of(kept + theta * removed) - rise) / (1 - theta))
    slacks, holds = [], True
    for theta, fall in zip((1.0, *course.thetas.tolist()), falls, strict=True):
        left, right = (1 + theta) * square + share, 2 * course.reach + fall.clamp_min(0)
        holds = holds and _holds(right, torch.full_like(right, left))
        slacks.append(course.budget + max(0.0, float(fall.mean())) - left)
    return Verdict(min(slacks), holds)


# --- 7: layer after layer --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Chain:
    """Layers pruned one after the other, each in the network that those before left: logits before and after, the
    reaches of all steps together, and by how much the penalty fell, as it is and by the sum of the steps' norms."""

    start: Float[Tensor, "samples classes"]
    end: Float[Tensor, "samples classes"]
    labels: Int[Tensor, " samples"]
    reach: Float[Tensor, " samples"]
    fallen: float
    saved: float

    @property
    def rise(self) -> Float[Tensor, " samples"]:
        """By how much cross-entropy rose."""
        return losses(self.end, self.labels) - losses(self.start, self.labels)


def layer_by_layer(chain: Chain) -> Verdict:
    """7. The objective rises by at most the sum of the budgets less that of the norms; margins add (theorem 5.8)."""
    right, left = 2 * chain.reach - chain.saved, chain.rise - chain.fallen
    margins = stable(chain.start, chain.end, chain.labels, chain.reach)
    return Verdict(float((right - left).mean()), _holds(right, left) and margins.holds)


def _holds(right: Tensor, left: Tensor) -> bool:
    return bool((left <= right + TOLERANCE * (1 + right.abs() + left.abs())).all())
