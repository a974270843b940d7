"""The control of distillation: the same epochs without a teacher."""

from __future__ import annotations

from typing import final

from prunery import hookimpl
from prunery.supervised import SupervisedLearner
from prunery.taught import UntaughtSettings


@final
class Independent(SupervisedLearner):
    """Cross-entropy with the labels."""

    stage = "distill"
    name = "independent"
    Settings = UntaughtSettings


@hookimpl
def register_methods() -> list[type]:
    """Hand the registry this recipe."""
    return [Independent]
