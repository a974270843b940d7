"""Which layers make a pair, and the regressors between them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from prunery import PruneryError
from prunery.companion import Companion, Lesson
from prunery.features import Feature, hidden, named

Pair = tuple[Feature, Feature]


def pairs(
    student: nn.Module, teacher: nn.Module, example: Tensor, ours: Sequence[str], theirs: Sequence[str]
) -> list[Pair]:
    """Features of the student and of the teacher that belong together; see `middle` where no pattern names any.

    Raises `PruneryError` if a pattern matches nothing, the numbers differ, or places differ that cannot be pooled.
    """
    if not ours:
        found = [middle(hidden(student, example, "student"), hidden(teacher, example, "teacher"))]
    else:
        led = named(student, example, ours, "student (student_layers)")
        source = "teacher_layers" if theirs else "student_layers, as teacher_layers is empty"
        leading = named(teacher, example, theirs or ours, f"teacher ({source})")
        if len(led) != len(leading):
            raise PruneryError(
                f"distill method 'hints': the setting student_layers matches {len(led)} layers of the student, "
                f"{source.partition(',')[0]} {len(leading)} of the teacher: name as many"
            )
        found = list(zip(led, leading, strict=True))
    for one, other in found:
        if one.places != other.places and not len(one.places) == len(other.places) == 2:
            raise PruneryError(
                f"distill method 'hints': the student's {one.layer!r} has places {one.places}, "
                f"the teacher's {other.layer!r} "
                f"{other.places}: name layers of the same places, or maps"
            )
    return found


def middle(ours: Sequence[Feature], theirs: Sequence[Feature]) -> Pair:
    """The feature half-way through the student, and its counterpart.

    That is the feature of the same name if both networks have the same layers, else the last one of the teacher with
    the same places, else the one half-way through the teacher.
    """
    chosen = ours[(len(ours) - 1) // 2]
    names = {feature.layer: feature for feature in theirs}
    if list(names) == [feature.layer for feature in ours]:
        return chosen, names[chosen.layer]
    alike = [feature for feature in theirs if feature.places == chosen.places]
    return chosen, alike[-1] if alike else theirs[(len(theirs) - 1) // 2]


class Regressors(Companion):
    """An affine map of channels per pair, the same at all places (a 1x1 convolution)."""

    def __init__(self, found: Sequence[Pair], weight: float, first_stage: float) -> None:
        super().__init__()
        self.student, self.teacher = ([pair[side] for pair in found] for side in (0, 1))
        self.maps = nn.ModuleList(nn.Linear(one.channels, other.channels) for one, other in found)
        self.weight, self.first_stage = weight, first_stage

    def forward(self, student: Sequence[Tensor], teacher: Sequence[Tensor], lesson: Lesson) -> Float[Tensor, ""]:
        """weight * the sum over pairs of the mean squared error; nothing once a first stage is over."""
        if 0 < self.first_stage < lesson.done:
            return torch.zeros((), device=lesson.labels.device)
        errors = [hint(*each) for each in zip(self.maps, student, teacher, strict=True)]
        return self.weight * torch.stack(errors).sum()


def hint(
    regressor: nn.Module,
    student: Float[Tensor, "batch channels ..."],
    teacher: Float[Tensor, "batch channels2 ..."],
) -> Float[Tensor, ""]:
    """The mean squared error of the regressed features (Romero et al. 2015, equation 3); the larger map is pooled."""
    if student.shape[2:] != teacher.shape[2:]:
        smaller = tuple(map(min, student.shape[2:], teacher.shape[2:]))
        student, teacher = (F.adaptive_avg_pool2d(each, smaller) for each in (student, teacher))
    found = regressor(student.movedim(1, -1)).movedim(-1, 1)
    return F.mse_loss(found, teacher)
