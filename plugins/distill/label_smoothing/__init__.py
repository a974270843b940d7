"""Smoothed labels: a teacher that knows nothing but the labels and is never quite sure of them."""

from __future__ import annotations

from typing import final

from pydantic import Field

from prunery import hookimpl
from prunery.supervised import SupervisedLearner
from prunery.taught import UntaughtSettings


class LabelSmoothingSettings(UntaughtSettings):
    """Settings of training on smoothed labels."""

    label_smoothing: float = Field(0.1, gt=0, lt=1, description="share of the target spread evenly over the classes")


@final
class LabelSmoothing(SupervisedLearner):
    """Cross-entropy with the smoothed labels."""

    stage = "distill"
    name = "label_smoothing"
    Settings = LabelSmoothingSettings


@hookimpl
def register_methods() -> list[type]:
    """Hand the registry this recipe."""
    return [LabelSmoothing]
