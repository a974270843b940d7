"""Training on from labels, after pruning or any other change."""

from __future__ import annotations

from typing import final

from prunery import hookimpl
from prunery.supervised import SupervisedLearner


@final
class Supervised(SupervisedLearner):
    """Cross-entropy with the labels, smoothed if asked."""

    stage = "finetune"
    name = "supervised"


@hookimpl
def register_methods() -> list[type]:
    """Hand the registry this recipe."""
    return [Supervised]
