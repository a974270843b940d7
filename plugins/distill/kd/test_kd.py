"""The distillation loss against a plain sum over classes."""

from __future__ import annotations

import math

import pytest
import torch

from prunery.divergence import divergence
from prunery.registry import registry


def softmax(values, temperature):
    powers = [math.exp(value / temperature) for value in values]
    return [power / sum(powers) for power in powers]


def naive(student, teacher, temperature):
    total = 0.0
    for ours, theirs in zip(student, teacher, strict=True):
        p, q = softmax(theirs, temperature), softmax(ours, temperature)
        total += sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))
    return temperature**2 * total / len(student)


@pytest.mark.parametrize("temperature", [1.0, 2.0, 5.0])
def test_divergence(temperature):
    generator = torch.Generator().manual_seed(0)
    student, teacher = torch.randn(2, 3, 6, 4, generator=generator).unbind()
    found = divergence(student, teacher, temperature).tolist()
    assert found == pytest.approx(
        [naive(s, t, temperature) for s, t in zip(student.tolist(), teacher.tolist(), strict=True)], rel=1e-4
    )
    assert divergence(student, student, temperature).tolist() == pytest.approx([0.0] * 3, abs=1e-6)


def test_the_loss_mixes_labels_and_teacher():
    generator = torch.Generator().manual_seed(1)
    student, teacher = torch.randn(2, 2, 6, 4, generator=generator).unbind()
    labels = torch.randint(4, (2, 6), generator=generator)

    def loss(weight):
        return registry().configured("distill", "kd", {"weight": weight}).loss(student, labels, teacher)

    assert torch.allclose(loss(0.0), divergence(student, teacher, 2.0))
    assert torch.allclose(loss(0.3), 0.3 * loss(1.0) + 0.7 * loss(0.0))
    chosen = student.log_softmax(2).gather(2, labels[..., None]).squeeze(2)
    assert torch.allclose(loss(1.0), -chosen.mean(1))
