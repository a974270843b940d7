"""Students with companions: the engine against a loop by hand, and what holds for other learners too."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from prunery_plugins.distill.hints.core import Regressors, pairs
from torch import nn

from prunery.accompanied import AccompaniedRun
from prunery.batching import derived_seed
from prunery.checkpoint import Checkpoint, Origin, Replica
from prunery.distill import distill
from prunery.errors import PruneryError
from prunery.registry import registry
from prunery.toys import same_states, states, toy_checkpoint, toy_images, toy_registered

QUICK = {"epochs": 2, "batch_size": 24}
BOTH = pytest.mark.parametrize(
    ("name", "settings"),
    [("hints", {}), ("crd", {}), ("crd", {"negatives": "memory", "memory_negatives": 32})],
    ids=["hints", "crd", "memory"],
)


@pytest.fixture(autouse=True)
def _toy():
    with toy_registered():
        yield


def learner(name="hints", **settings):
    return registry().configured("distill", name, {**QUICK, **settings})


def taught(method, students, teachers, said=lambda _: None):
    return distill(method, students, teachers, toy_images(), said)


def by_hand(student, teacher, steps, rate, decay, limit):
    """Full batches, so that the order of the data is no matter; SGD on the student and the regressor."""
    data, example = toy_images(), toy_images().spec.example(2)
    inputs, labels = next(data.batches("train", 1000))
    torch.manual_seed(derived_seed("distill/companion", 0, 0))
    regressor = Regressors(pairs(student, teacher, example, ["1"], ["3"]), 1.0, 0.0).maps[0]
    optimizer = torch.optim.SGD([*student.parameters(), *regressor.parameters()], rate, weight_decay=decay)
    mask = student.get_buffer("2.weight/mask")
    for _ in range(steps):
        ours, theirs = student[1](student[0](inputs)), nn.Sequential(*list(teacher)[:4])(inputs).detach()
        found = regressor(F.adaptive_avg_pool2d(ours, theirs.shape[2:]).movedim(1, -1)).movedim(-1, 1)
        loss = F.cross_entropy(student(inputs), labels) + F.mse_loss(found, theirs)
        optimizer.zero_grad()
        loss.backward()
        student[2].weight.grad.masked_fill_(~mask, 0)
        nn.utils.clip_grad_norm_(student.parameters(), limit)
        nn.utils.clip_grad_norm_(regressor.parameters(), limit)
        optimizer.step()
        with torch.no_grad():
            student[2].weight.masked_fill_(~mask, 0)
    return loss.item()


def test_the_engine_does_what_a_loop_by_hand_does():
    settings = {"optimizer": "sgd", "momentum": 0.0, "learning_rate": 0.05, "weight_decay": 0.1, "clip_norm": 0.5}
    method = learner(**settings, epochs=4, batch_size=128, hint_weight=1.0, student_layers=["1"], teacher_layers=["3"])
    students, teachers = toy_checkpoint((0,), masked=True), toy_checkpoint((4,))
    replicas, outcome = taught(method, students, teachers)
    # masks are held in every masked layer; here one of the two is enough to tell
    wanted = toy_checkpoint((0,), masked=True).networks[0]
    mask = wanted.get_buffer("5.weight/mask")
    wanted[5].weight.register_hook(lambda gradient: gradient.masked_fill(~mask, 0))
    loss = by_hand(wanted, teachers.networks[0], 4, 0.05, 0.1, 0.5)
    for key, value in states(replicas[0].network).items():
        assert torch.allclose(value, states(wanted)[key], atol=1e-5), key
    assert outcome.history[0][-1]["train_loss"] == pytest.approx(loss, rel=1e-4)


@BOTH
def test_in_company_or_alone_is_the_same(name, settings):
    method = learner(name, crop_padding=1, **settings)
    together, outcome = taught(method, toy_checkpoint((0, 1, 2)), toy_checkpoint((1, 5)))
    for seed in (0, 1, 2):
        alone, single = taught(method, toy_checkpoint((seed,)), toy_checkpoint((seed if seed == 1 else 1,)))
        assert same_states(states(together[seed].network), states(alone[seed].network))
        assert outcome.history[seed] == single.history[seed]
    assert not same_states(*(states(together[seed].network) for seed in (0, 1)))


@BOTH
def test_nothing_of_the_companion_is_left(name, settings):
    students, teachers = toy_checkpoint(masked=True), toy_checkpoint((7,))
    kept = [states(one) for one in (*students.networks, *teachers.networks)]
    replicas, _ = taught(learner(name, **settings), students, teachers)
    for one, old in zip((*students.networks, *teachers.networks), kept, strict=True):
        assert same_states(states(one), old)
    for seed, replica in replicas.items():
        assert list(states(replica.network)) == list(states(students.replicas[seed].network))
        assert not any(layer._forward_hooks or layer._forward_pre_hooks for layer in replica.network.modules())
        assert not replica.network[5].weight[~replica.network[5].get_buffer("weight/mask")].any()


@BOTH
def test_teachers_of_another_architecture_teach(name, settings):
    data, cnn = toy_images(), registry().configured("model", "cnn", {"channels": 6})
    torch.manual_seed(3)
    teacher = Checkpoint(Origin(*cnn.origin(), data.spec), {9: Replica(cnn.build(data.spec).eval())})
    plain, _ = taught(learner(name, **settings, **_no_features(name)), toy_checkpoint((0,)), teacher)
    replicas, outcome = taught(learner(name, **settings), toy_checkpoint((0,)), teacher)
    assert outcome.diverged == {}
    moved = [float((states(one[0].network)["0.weight"]).norm()) for one in (plain, replicas)]
    assert moved[0] != moved[1]


def _no_features(name):
    return {"hints": {"hint_weight": 0.0}, "crd": {"contrast_weight": 0.0}}[name]


def test_without_weight_the_features_have_no_effect():
    control = learner("independent")
    wanted, _ = taught(control, toy_checkpoint((0,)), None)
    for name in ("hints", "crd"):
        found, _ = taught(learner(name, **_no_features(name)), toy_checkpoint((0,)), toy_checkpoint((3,)))
        for key, value in states(found[0].network).items():
            assert torch.allclose(value, states(wanted[0].network)[key], atol=1e-6), key


def test_patience_keeps_the_best_weights():
    method = learner(epochs=12, patience=1, learning_rate=0.2, hint_weight=1000.0)
    replicas, outcome = taught(method, toy_checkpoint((0,)), toy_checkpoint((3,)))
    losses = [epoch["validation_loss"] for epoch in outcome.history[0]]
    assert len(losses) < 12
    inputs, labels = next(toy_images().batches("validation", 1000))
    with torch.no_grad():
        assert F.cross_entropy(replicas[0].network(inputs), labels).item() == pytest.approx(min(losses), rel=1e-4)


def test_a_replica_that_diverges_harms_no_other():
    students, teachers = toy_checkpoint((0, 1)), toy_checkpoint((3,))
    with torch.no_grad():
        students.replicas[0].network[5].weight.fill_(3e38)
    said = []
    replicas, outcome = taught(learner(), students, teachers, said.append)
    assert outcome.diverged == {0: 1}
    assert any("the loss of seed 0 is not finite in epoch 1" in line for line in said)
    alone, _ = taught(learner(), toy_checkpoint((1,)), toy_checkpoint((3,)))
    assert same_states(states(replicas[1].network), states(alone[1].network))
    with pytest.raises(PruneryError, match="the loss of no network stays finite"):
        taught(learner(), replace(students, replicas={0: students.replicas[0]}), teachers)


def test_the_share_done_goes_up_to_one(monkeypatch):
    shares = []
    losses = AccompaniedRun._losses
    monkeypatch.setattr(AccompaniedRun, "_losses", lambda run, *args: shares.append(run.done) or losses(run, *args))
    taught(learner(epochs=3, batch_size=64), toy_checkpoint((0,)), toy_checkpoint((3,)))
    assert shares == pytest.approx([1 / 6, 2 / 6, 3 / 6, 4 / 6, 5 / 6, 1.0])
