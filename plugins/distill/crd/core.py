"""Embeddings of two networks, and how well each singles out the other's of the same sample."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from prunery import PruneryError
from prunery.companion import Companion, Lesson
from prunery.features import Feature, hidden, named


def embedded(network: nn.Module, example: Tensor, pattern: str | None, whose: str) -> Feature:
    """The feature to embed: what the last layer reads, or what the named one gives.

    `whose` is `student` or `teacher`. Raises `PruneryError` if the pattern matches no layer or several.
    """
    if pattern is None:
        return hidden(network, example, whose)[-1]
    found = named(network, example, [pattern], f"{whose} ({whose}_layer)")
    if len(found) > 1:
        raise PruneryError(
            f"distill method 'crd': {whose}_layer {pattern!r} matches {len(found)} layers of the {whose}: name one"
        )
    return found[0]


def info_nce(
    anchors: Float[Tensor, "batch dimensions"],
    positives: Float[Tensor, "batch dimensions"],
    others: Float[Tensor, "others dimensions"],
    negative: Bool[Tensor, "batch others"],
    temperature: float,
) -> Float[Tensor, ""]:
    """-log(exp(a p / t) / (exp(a p / t) + sum over negatives of exp(a n / t))), the mean over the batch, in nats.

    All vectors have length 1. The loss bounds the mutual information of the two networks' embeddings from below
    (van den Oord et al. 2018). An anchor without negatives adds zero.
    """
    own = (anchors * positives).sum(1, keepdim=True)
    cross = (anchors @ others.T).masked_fill(~negative, -math.inf)
    scores = torch.cat([own, cross], dim=1) / temperature
    return (scores.logsumexp(1) - scores[:, 0]).mean()


class Memory(nn.Module):
    """The last embeddings of every training sample, a moving average, for student and teacher.

    `drawn` of them are compared with in each step; `momentum` is the share of the old in an update.
    """

    def __init__(self, labels: Int[Tensor, " samples"], dimensions: int, drawn: int, momentum: float) -> None:
        super().__init__()
        self.register_buffer("labels", labels.clone())
        self.register_buffer("rows", F.normalize(torch.randn(2, len(labels), dimensions), dim=-1))
        self.drawn, self.momentum = drawn, momentum

    def draw(self) -> Int[Tensor, " drawn"]:
        """Samples, each as likely as the other, from torch's global generator."""
        labels = self.get_buffer("labels")
        return torch.randint(len(labels), (self.drawn,), device=labels.device)

    @torch.no_grad()
    def update(self, side: int, samples: Int[Tensor, " batch"], embeddings: Float[Tensor, "batch dimensions"]) -> None:
        """Move the rows of these samples towards their new embeddings."""
        rows = self.get_buffer("rows")[side]
        rows[samples] = F.normalize(self.momentum * rows[samples] + (1 - self.momentum) * embeddings, dim=-1)


class Contrast(Companion):
    """A linear projection to the unit sphere for each network, and InfoNCE from either to the other."""

    def __init__(self, features: tuple[Feature, Feature], memory: Memory | None, settings: Any) -> None:
        super().__init__()
        self.student, self.teacher = ([feature] for feature in features)
        self.projections = nn.ModuleList(nn.Linear(feature.channels, settings.dimensions) for feature in features)
        self.memory, self.settings = memory, settings

    def forward(self, student: Sequence[Tensor], teacher: Sequence[Tensor], lesson: Lesson) -> Float[Tensor, ""]:
        """weight * (InfoNCE of the student among the teacher's + of the teacher among the student's)."""
        features = student[0], teacher[0]
        embeddings = [self.embed(side, feature) for side, feature in enumerate(features)]
        chosen = self._batch(embeddings, lesson) if self.memory is None else self._remembered(self.memory, lesson)
        losses = [info_nce(embeddings[side], *chosen[1 - side], self.settings.contrast_temperature) for side in (0, 1)]
        if self.memory is not None:
            for side, each in enumerate(embeddings):
                self.memory.update(side, lesson.samples, each.detach())
        return self.settings.contrast_weight * (losses[0] + losses[1])

    def embed(self, side: int, feature: Float[Tensor, "batch channels ..."]) -> Float[Tensor, "batch dimensions"]:
        """The mean over places, projected, at length 1."""
        vectors = feature.flatten(2).mean(2) if feature.dim() > 2 else feature
        return F.normalize(self.projections[side](vectors), dim=-1)

    def _batch(self, embeddings: Sequence[Tensor], lesson: Lesson) -> list[tuple[Tensor, Tensor, Tensor]]:
        """Positives, others and which of those are negatives, of student and teacher: the batch itself."""
        negative = self._negative(lesson, lesson.samples, lesson.labels)
        return [(each, each, negative) for each in embeddings]

    def _remembered(self, memory: Memory, lesson: Lesson) -> list[tuple[Tensor, Tensor, Tensor]]:
        """The same from the memory. Positives are as old as negatives: else it would pay to flee all that is old."""
        drawn = memory.draw()
        negative = self._negative(lesson, drawn, memory.get_buffer("labels")[drawn])
        return [(rows[lesson.samples], rows[drawn], negative) for rows in memory.get_buffer("rows")]

    def _negative(
        self, lesson: Lesson, samples: Int[Tensor, " others"], labels: Int[Tensor, " others"]
    ) -> Bool[Tensor, "batch others"]:
        """Which of the others each sample is told apart from: never itself, nor its class unless asked for."""
        apart = lesson.samples[:, None] != samples
        return apart if self.settings.same_class else apart & (lesson.labels[:, None] != labels)
