"""Quantization-aware training of fresh networks."""

from __future__ import annotations

from typing import final

from prunery import hookimpl
from prunery.qat import QatLearner


@final
class Qat(QatLearner):
    """Cross-entropy with the labels, under simulated quantization."""

    stage = "train"
    name = "qat"


@hookimpl
def register_methods() -> list[type]:
    """Hand the registry this recipe."""
    return [Qat]
