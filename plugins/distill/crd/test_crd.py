"""The contrastive loss against a naive sum and closed forms, the memory, and what is embedded."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from prunery_plugins.distill.crd.core import Contrast, Memory, embedded, info_nce

from prunery.companion import Lesson
from prunery.data import Spec
from prunery.distill import distill
from prunery.errors import PruneryError
from prunery.features import Feature
from prunery.registry import registry
from prunery.toys import toy_checkpoint, toy_images, toy_registered

LABELS, SAMPLES = torch.tensor([0, 1, 0, 2]), torch.tensor([7, 3, 5, 1])


def unit(*shape, seed=0):
    return F.normalize(torch.randn(*shape, generator=torch.Generator().manual_seed(seed)), dim=-1)


def crd(**settings):
    return registry().configured("distill", "crd", {"dimensions": 3, **settings})


@torch.no_grad()
def naive(anchors, positives, others, negative, temperature):
    total = 0.0
    for i, anchor in enumerate(anchors):
        own = math.exp(float(anchor @ positives[i]) / temperature)
        rest = sum(math.exp(float(anchor @ each) / temperature) for j, each in enumerate(others) if negative[i, j])
        total -= math.log(own / (own + rest))
    return total / len(anchors)


def test_info_nce():
    anchors, positives, others = unit(4, 3), unit(4, 3, seed=1), unit(6, 3, seed=2)
    negative = torch.rand(4, 6, generator=torch.Generator().manual_seed(3)) < 0.5
    negative[2] = False
    found = info_nce(anchors, positives, others, negative, 0.2).item()
    assert found == pytest.approx(naive(anchors, positives, others, negative, 0.2), rel=1e-4)
    same = unit(1, 3).expand(5, 3)  # all alike: chance among the positive and four negatives
    assert info_nce(same, same, same, ~torch.eye(5, dtype=torch.bool), 0.07).item() == pytest.approx(math.log(5))
    assert info_nce(same, same, same, torch.zeros(5, 5, dtype=torch.bool), 0.07).item() == 0


@pytest.mark.parametrize("same_class", [False, True])
def test_both_directions_among_the_batch(same_class):
    features = Feature("a", "input", (5,), True), Feature("b", "input", (4, 2, 2), False)
    settings = crd(same_class=same_class, contrast_weight=2.0).settings
    module = Contrast(features, None, settings)
    ours, theirs = torch.randn(4, 5), torch.randn(4, 4, 2, 2)
    loss = module([ours], [theirs], Lesson(LABELS, SAMPLES, 0.1)).item()
    s = F.normalize(module.projections[0](ours), dim=1)
    t = F.normalize(module.projections[1](theirs.mean((2, 3))), dim=1)
    negative = ~torch.eye(4, dtype=torch.bool)
    if not same_class:
        negative[0, 2] = negative[2, 0] = False
    wanted = naive(s, t, t, negative, 0.07) + naive(t, s, s, negative, 0.07)
    assert loss == pytest.approx(2 * wanted, rel=1e-4)


def test_the_memory_is_a_moving_average_on_the_sphere():
    memory = Memory(torch.arange(10) % 3, 3, drawn=6, momentum=0.25)
    before, new = memory.rows.clone(), unit(4, 3, seed=4)
    memory.update(1, SAMPLES, new)
    wanted = F.normalize(0.25 * before[1, SAMPLES] + 0.75 * new, dim=1)
    assert torch.allclose(memory.rows[1, SAMPLES], wanted)
    rest = [row for row in range(10) if row not in SAMPLES.tolist()]
    assert torch.equal(memory.rows[1, rest], before[1, rest])
    assert torch.equal(memory.rows[0], before[0])
    assert not list(memory.parameters())


def test_negatives_from_the_memory_are_of_other_samples_and_classes(monkeypatch):
    feature = Feature("a", "input", (5,), True)
    memory = Memory(torch.arange(10) % 3, 3, drawn=6, momentum=0.5)
    module = Contrast((feature, feature), memory, crd(negatives="memory").settings)
    drawn, labels = torch.tensor([7, 0, 1, 3, 8, 8]), torch.tensor([1, 0, 2, 1])
    monkeypatch.setattr(memory, "draw", lambda: drawn)
    rows, features = memory.rows.clone(), torch.randn(4, 5)
    loss = module([features], [features], Lesson(labels, SAMPLES, 0.1)).item()
    s, t = (F.normalize(each(features), dim=1) for each in module.projections)
    pairs = list(zip(SAMPLES.tolist(), labels.tolist(), strict=True))
    negative = torch.tensor([[d % 3 != label and d != own for d in drawn.tolist()] for own, label in pairs])
    wanted = sum(
        naive(anchor, rows[side, SAMPLES], rows[side, drawn], negative, 0.07) for anchor, side in ((s, 1), (t, 0))
    )
    assert loss == pytest.approx(0.8 * wanted, rel=1e-4)
    assert not torch.equal(memory.rows[:, SAMPLES], rows[:, SAMPLES])


def test_what_the_last_layer_reads_is_embedded():
    network = registry().configured("model", "vgg", {}).build(Spec("image", (3, 32, 32), 10))
    example = torch.zeros(2, 3, 32, 32)
    found = embedded(network, example, None, "student")
    assert (found.layer, found.side, found.shape) == ("classifier.6", "input", (512,))
    assert embedded(network, example, "avgpool", "student").shape == (512, 1, 1)
    with pytest.raises(PruneryError, match=r"student_layer 'classifier.* matches 3 layers of the student: name one"):
        embedded(network, example, "classifier.[036]", "student")
    with pytest.raises(PruneryError, match="unknown layer that runs 'pool'"):
        embedded(network, example, "pool", "teacher")


@pytest.mark.parametrize("settings", [{}, {"negatives": "memory", "memory_negatives": 64}])
def test_embeddings_come_to_single_out_the_teachers(settings):
    chosen = {"epochs": 25, "batch_size": 32, "learning_rate": 0.01, "dimensions": 16, "contrast_temperature": 0.2}
    with toy_registered():
        _, outcome = distill(crd(**chosen, **settings), toy_checkpoint((0,)), toy_checkpoint((9,)), toy_images(), str)
    losses = [epoch["train_loss"] for epoch in outcome.history[0]]
    assert losses[-1] < 0.4 * losses[0]
