"""Distillation: who teaches whom, and that students come to agree with their teachers."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

import prunery.teacher
from prunery import PruneryError
from prunery.batching import Batch
from prunery.distill import distill
from prunery.registry import registry
from prunery.teacher import Teacher
from prunery.toys import same_states, states, toy_checkpoint, toy_images, toy_registered

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def _toy():
    with toy_registered():
        yield


def distilled(parent, teacher, **settings):
    method = registry().configured("distill", "kd", {"epochs": 3, "batch_size": 24, **settings})
    return distill(method, parent, teacher, toy_images(), lambda _: None)


def agreement(student, teacher):
    inputs, _ = next(toy_images().batches("validation", 1000))
    with torch.no_grad():
        return float((student(inputs).softmax(1) - teacher(inputs).softmax(1)).abs().sum(1).mean())


def test_students_come_to_agree_with_the_teacher_of_their_seed():
    students, teachers = toy_checkpoint(seeds=(0, 1), masked=True), toy_checkpoint(seeds=(5, 0, 1))
    for seed in (0, 1):
        with torch.no_grad():
            teachers.replicas[seed].network[7].weight.mul_(20)
    replicas, _ = distilled(students, teachers, weight=0.0, epochs=40, learning_rate=5e-3)
    for seed, replica in replicas.items():
        own, other = teachers.replicas[seed].network, teachers.replicas[1 - seed].network
        before = agreement(students.replicas[seed].network, own)
        assert agreement(replica.network, own) < 0.4 * before
        assert agreement(replica.network, own) < 0.5 * agreement(replica.network, other)


def test_teachers_and_parents_are_untouched_and_masks_stay():
    students, teachers = toy_checkpoint(masked=True), toy_checkpoint()
    kept = [states(one) for one in students.networks + teachers.networks]
    replicas, _ = distilled(students, teachers)
    assert all(
        same_states(states(one), old) for one, old in zip(students.networks + teachers.networks, kept, strict=True)
    )
    for replica in replicas.values():
        state = states(replica.network)
        assert not state["5.weight"][~state["5.weight/mask"]].any()


@pytest.mark.parametrize("seeds", [(0, 1, 2), (7,), (1, 2)], ids=["own", "shared", "some"])
@pytest.mark.parametrize("settings", [{}, {"crop_padding": 1}, {"patience": 1, "epochs": 6, "learning_rate": 0.05}])
def test_in_company_or_alone_is_the_same(seeds, settings):
    students, teachers = toy_checkpoint(seeds=(0, 1, 2)), toy_checkpoint(seeds=seeds)
    together, outcome = distilled(students, teachers, **settings)
    for seed in students.seeds:
        chosen = seed if seed in seeds else seeds[0]
        alone, single = distilled(toy_checkpoint(seeds=(seed,)), toy_checkpoint(seeds=(chosen,)), **settings)
        for key, value in states(together[seed].network).items():
            assert torch.allclose(value, states(alone[seed].network)[key], rtol=1e-3, atol=1e-4), key
        assert outcome.history[seed][-1] == pytest.approx(single.history[seed][-1], rel=1e-3)


@pytest.mark.parametrize("batched", [True, False])
def test_logits_from_the_table_are_those_computed_afresh(monkeypatch, batched):
    data, networks = toy_images(), toy_checkpoint(seeds=(0, 1, 2)).networks
    samples = torch.stack([torch.randperm(len(data.train))[:10] for _ in networks])
    batch = Batch(data.network_inputs(data.train.inputs[samples]), data.train.labels[samples], samples)
    for chosen in (networks, [networks[0]] * 3):
        teacher = Teacher(chosen, batched, CPU)
        fresh = teacher.logits(batch)
        monkeypatch.setattr(prunery.teacher, "TABLE_BYTES", 0)
        teacher.prepare(data, 50)
        assert teacher.table is None
        monkeypatch.undo()
        teacher.prepare(data, 50)
        assert teacher.table is not None
        assert torch.allclose(teacher.logits(batch), fresh, atol=1e-5)
        naive = torch.stack([one(part) for one, part in zip(chosen, batch.inputs, strict=True)])
        assert torch.allclose(fresh, naive, atol=1e-5)
        teacher.keep([2, 0])
        left = Batch(batch.inputs[[2, 0]], batch.labels[[2, 0]], samples[[2, 0]])
        assert torch.allclose(teacher.logits(left), fresh[[2, 0]], atol=1e-5)


def test_a_teacher_of_other_classes_is_refused():
    teacher = toy_checkpoint()
    teacher.origin = replace(teacher.origin, spec=replace(teacher.origin.spec, classes=9))
    with pytest.raises(PruneryError, match="the teacher was built for 9 classes"):
        distilled(toy_checkpoint(), teacher)
