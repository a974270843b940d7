"""The two parts of the divergence against plain sums over classes, and what they add up to."""

from __future__ import annotations

import math

import pytest
import torch
from prunery_plugins.distill.dkd.core import parts

from prunery.divergence import divergence
from prunery.losses import cross_entropy
from prunery.registry import registry


def softmax(values, temperature):
    powers = [math.exp(value / temperature) for value in values]
    return [power / sum(powers) for power in powers]


def kl(p, q):
    return sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))


def naive(student, teacher, labels, temperature):
    target = others = 0.0
    for ours, theirs, label in zip(student, teacher, labels, strict=True):
        p, q = softmax(theirs, temperature), softmax(ours, temperature)
        target += kl([p[label], 1 - p[label]], [q[label], 1 - q[label]])
        rest = [index for index in range(len(p)) if index != label]
        others += kl(*(softmax([row[index] for index in rest], temperature) for row in (theirs, ours)))
    return [temperature**2 * value / len(labels) for value in (target, others)]


def drawn(seed=0):
    generator = torch.Generator().manual_seed(seed)
    student, teacher = (3 * torch.randn(2, 3, 6, 5, generator=generator)).unbind()
    return student, teacher, torch.randint(5, (3, 6), generator=generator)


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_parts(temperature):
    student, teacher, labels = drawn()
    found = torch.stack(parts(student, teacher, labels, temperature), dim=1)
    for row, *one in zip(found.tolist(), student.tolist(), teacher.tolist(), labels.tolist(), strict=True):
        assert row == pytest.approx(naive(*one, temperature), rel=1e-4)


def test_kl_is_tckd_plus_what_the_teacher_leaves_to_the_others():
    student, teacher, labels = drawn(1)
    for one in range(6):
        ours, theirs, label = (each[:, one : one + 1] for each in (student, teacher, labels))
        target, others = parts(ours, theirs, label, 1.0)
        certain = theirs.softmax(-1).gather(-1, label.unsqueeze(-1)).flatten()
        assert torch.allclose(divergence(ours, theirs), target + (1 - certain) * others, rtol=1e-4)


def test_gradients_are_finite_where_the_teacher_is_certain():
    student = torch.tensor([[[60.0, 0.0, -60.0]]], requires_grad=True)
    target, others = parts(student, torch.tensor([[[90.0, 1.0, 0.0]]]), torch.tensor([[0]]), 1.0)
    (target + others).sum().backward()
    assert target.item() == pytest.approx(0.0, abs=1e-6)
    p = 1 / (1 + math.e)
    gradient = [0.0, p, -p]  # of KL among the others: q - p, where q is nearly (1, 0)
    assert student.grad.flatten().tolist() == pytest.approx(gradient, abs=1e-5)


def test_weights_rise_during_the_warm_up():
    student, teacher, labels = drawn(2)
    target, others = parts(student, teacher, labels, 4.0)
    hard = cross_entropy(student, labels)

    def loss(done, **settings):
        method = registry().configured("distill", "dkd", {"alpha": 2.0, "beta": 3.0, "warmup": 0.5, **settings})
        return method.loss_at(done, student, labels, teacher)

    assert torch.allclose(loss(0.25), hard + 0.5 * (2 * target + 3 * others))
    assert torch.allclose(loss(0.25, warmed="beta"), hard + 2 * target + 0.5 * 3 * others)
    for settings in ({"done": 0.75}, {"done": 0.01, "warmup": 0.0}):
        assert torch.allclose(loss(**settings), hard + 2 * target + 3 * others)
