"""The distillation loss against a plain sum over classes."""

from __future__ import annotations

import math

import pytest
import torch

from prunery.data import Spec
from prunery.distill import distill
from prunery.divergence import divergence
from prunery.optimizing import learning_rate, make_optimizer
from prunery.prune import prune
from prunery.registry import registry
from prunery.replicas import Single
from prunery.toys import toy_checkpoint, toy_images, toy_registered

FROZEN = {
    "epochs": 3, "weight": 0.5, "temperature": 2.0, "label_smoothing": 0.1, "optimizer": "adamw",
    "learning_rate": 1e-3, "weight_decay": 0.01, "decay_vectors": False, "warmup_steps": 4, "schedule": "cosine",
    "batch_size": 16,
}  # fmt: skip
"""The published recipe of frozen-mask distillation, at the size of toys."""


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


# --- frozen-mask distillation ----------------------------------------------------------------------------------------


def test_half_is_smoothed_labels_and_half_is_the_teacher():
    student, teacher, labels = [[2.0, -1.0, 0.5]], [[0.3, 0.9, -2.0]], [1]
    method = registry().configured("distill", "kd", FROZEN)
    found = method.loss(torch.tensor([student]), torch.tensor([labels]), torch.tensor([teacher]))
    target = [0.1 / 3, 0.9 + 0.1 / 3, 0.1 / 3]
    hard = -sum(t * math.log(p) for t, p in zip(target, softmax(student[0], 1.0), strict=True))
    assert found.tolist() == pytest.approx([0.5 * hard + 0.5 * naive(student, teacher, 2.0)], rel=1e-5)


def test_the_rate_warms_up_and_falls_to_zero_step_by_step():
    settings = registry().configured("distill", "kd", FROZEN).settings
    rates = [learning_rate(settings, step, 8) / 1e-3 for step in range(24)]
    assert rates[:4] == pytest.approx([0.25, 0.5, 0.75, 1])
    assert rates[4:] == pytest.approx([0.5 * (1 + math.cos(math.pi * step / 20)) for step in range(20)])
    assert rates[-1] < 0.01


def test_what_is_added_to_samples_does_not_decay():
    options = {"patch_size": 8, "embed_dim": 24, "depth": 1, "num_heads": 3}
    architecture = registry().configured("model", "timm", {"name": "vit_tiny_patch16_224", "options": options})
    network = architecture.build(Spec("image", (3, 16, 16), 4))
    names = {id(value): key for key, value in network.named_parameters()}
    settings = registry().configured("distill", "kd", FROZEN).settings
    groups = make_optimizer(Single(network, torch.device("cpu")), settings).param_groups
    decays = {names[id(value)]: group["weight_decay"] for group in groups for value in group["params"]}
    assert {key for key, decay in decays.items() if decay} == {
        "patch_embed.proj.weight", "blocks.0.attn.qkv.weight", "blocks.0.attn.proj.weight",
        "blocks.0.mlp.fc1.weight", "blocks.0.mlp.fc2.weight", "head.weight",
    }  # fmt: skip
    assert {"cls_token", "pos_embed", "norm.weight", "head.bias"} <= set(decays)


def test_the_pattern_stays_and_the_rest_learns():
    dense = toy_checkpoint()
    pruned = dense.child(prune(registry().configured("prune", "nm", {"exclude": ("0.weight",)}), dense, {}), {})
    method = registry().configured("distill", "kd", FROZEN)
    with toy_registered():
        taught, _ = distill(method, pruned, dense, toy_images(), lambda line: None)
    for seed, replica in taught.items():
        for key in ("2.weight", "5.weight", "7.weight"):
            before, after = (
                each.get_parameter(key).detach() for each in (pruned.replicas[seed].network, replica.network)
            )
            assert torch.equal(before == 0, after == 0)
            assert not torch.equal(before, after)
