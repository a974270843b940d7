"""Which layers make a pair, the regressors' loss against a naive sum, and that hints lead."""

from __future__ import annotations

import pytest
import torch
from prunery_plugins.distill.hints.core import Regressors, hint, pairs
from torch import nn

from prunery.companion import Lesson
from prunery.data import Spec
from prunery.distill import distill
from prunery.errors import PruneryError
from prunery.features import hidden
from prunery.registry import registry
from prunery.toys import toy_checkpoint, toy_images, toy_registered

CIFAR = Spec("image", (3, 32, 32), 10)
EXAMPLE = torch.zeros(2, 3, 32, 32)


def vgg(depth):
    return registry().configured("model", "vgg", {"depth": depth, "init": "torch"}).build(CIFAR)


def names(*arguments):
    return [(one.layer, other.layer) for one, other in pairs(*arguments)]


def test_the_middle_layer_goes_with_the_same_or_with_the_last_of_the_same_size():
    small, large = vgg(11), vgg(16)
    assert names(small, vgg(11), EXAMPLE, (), ()) == [("features.18", "features.18")]
    ((ours, theirs),) = pairs(small, large, EXAMPLE, (), ())
    assert (ours.layer, ours.shape) == ("features.18", (512, 4, 4))
    assert (theirs.layer, theirs.shape) == ("features.30", (512, 4, 4))


def test_named_layers_are_taken_in_order():
    found = pairs(vgg(11), vgg(16), EXAMPLE, ("features.4", "features.1"), ("features.[07]",))
    assert [(one.layer, one.side, one.shape) for one, _ in found] == [
        ("features.1", "output", (64, 32, 32)), ("features.4", "output", (128, 16, 16)),
    ]  # fmt: skip
    assert [other.shape for _, other in found] == [(64, 32, 32), (128, 16, 16)]


@pytest.mark.parametrize(
    ("ours", "theirs", "said"),
    [
        (("features.99",), (), r"of the student \(student_layers\): unknown layer that runs 'features.99'"),
        (("features.0",), ("features.99",), r"of the teacher \(teacher_layers\): unknown layer that runs"),
        (("features.0",), ("features.[07]",), "matches 1 layers of the student, teacher_layers 2 of the teacher"),
        (("classifier.0",), ("features.0",), r"student's 'classifier.0' has places \(\), the teacher's 'features.0'"),
    ],
)
def test_mistakes_are_named(ours, theirs, said):
    with pytest.raises(PruneryError, match=said):
        pairs(vgg(11), vgg(16), EXAMPLE, ours, theirs)


def test_a_teacher_without_the_students_layer_is_named():
    with pytest.raises(PruneryError, match=r"the teacher \(student_layers, as teacher_layers is empty\): unknown"):
        pairs(vgg(16), vgg(11), EXAMPLE, ("features.40",), ())


def test_a_teachers_layer_wants_a_students():
    with pytest.raises(PruneryError, match="teacher_layers go with student_layers: name those too"):
        registry().configured("distill", "hints", {"teacher_layers": ["features.0"]})


def test_the_hint_is_a_mean_squared_error_after_a_map_of_channels():
    generator = torch.Generator().manual_seed(0)
    ours, theirs = torch.randn(2, 3, 4, 4, generator=generator), torch.randn(2, 5, 2, 2, generator=generator)
    regressor = nn.Linear(3, 5)
    total = 0.0
    for b in range(2):
        for row in range(2):
            for column in range(2):
                window = ours[b, :, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2].mean((1, 2))
                total += (regressor.weight @ window + regressor.bias - theirs[b, :, row, column]).square().sum().item()
    assert hint(regressor, ours, theirs).item() == pytest.approx(total / (2 * 5 * 2 * 2), rel=1e-5)


def test_hints_come_first_and_then_the_logits_alone():
    one = hidden(nn.Sequential(nn.Flatten(), nn.Linear(16, 6), nn.Linear(6, 4)), torch.zeros(2, 1, 4, 4))[0]
    module = Regressors([(one, one)], weight=10.0, first_stage=0.5)
    features, labels = torch.randn(4, 6), torch.tensor([0, 1, 2, 3])
    early, late = (module([features], [features + 1], Lesson(labels, labels, done)) for done in (0.5, 0.6))
    assert early.item() == pytest.approx(10 * hint(module.maps[0], features, features + 1).item())
    assert late.item() == 0
    method = registry().configured("distill", "hints", {"first_stage": 0.5, "kd_weight": 1.0})
    logits, teacher = torch.randn(2, 1, 4, 4)
    losses = [method.loss_at(done, logits, labels[None], teacher).item() for done in (0.5, 0.6)]
    assert losses == [0, method.loss(logits, labels[None], teacher).item()]


def distance(student, teacher):
    """What the best affine map leaves of the first layer's outputs in the teacher, as a share of their variance."""
    inputs, _ = next(toy_images().batches("train", 1000))
    with torch.no_grad():
        ours, theirs = (network[0](inputs).movedim(1, -1).flatten(0, 2) for network in (student, teacher))
    ours = torch.cat([ours, torch.ones(len(ours), 1)], dim=1)
    rest = theirs - ours @ torch.linalg.lstsq(ours, theirs).solution
    return float(rest.square().mean() / theirs.var(0, correction=0).mean())


def test_led_features_come_to_predict_the_teachers():
    teachers, found = toy_checkpoint(seeds=(9,)), {}
    for weight in (0, 100):
        settings = {"epochs": 20, "learning_rate": 0.01, "batch_size": 32, "student_layers": ["0"]}
        method = registry().configured("distill", "hints", {**settings, "hint_weight": weight})
        with toy_registered():
            replicas, _ = distill(method, toy_checkpoint(seeds=(0,)), teachers, toy_images(), lambda _: None)
        found[weight] = distance(replicas[0].network, teachers.networks[0])
    assert found[100] < 0.1 * found[0]
