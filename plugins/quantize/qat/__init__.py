"""Integers from the ranges that quantization-aware training observed."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, Literal, final

from pydantic import Field

from prunery import Measured, Quantizer, Settings, hookimpl
from prunery.errors import PruneryError

if TYPE_CHECKING:
    from torch import Tensor

    from prunery.integer import IntegerPlan

log = logging.getLogger("prunery.quantize.qat")


class QatSettings(Settings):
    """Settings of the conversion; how values are rounded was settled in training."""

    amount: ClassVar[str | None] = "bits"

    bits: Literal[8] = Field(8, description="bits of weights and activations; only 8 so far")


@final
class Qat(Quantizer):
    """The very integers that the network was trained with."""

    name = "qat"
    Settings = QatSettings
    follows = ("finetune=qat", "train=qat")

    def plan(self, weights: Mapping[str, Tensor], measured: Measured) -> dict[str, IntegerPlan]:
        """A plan for every layer that simulated quantization in training; see `Quantizer.plan`.

        Raises `PruneryError` if there is none.
        """
        from .core import plan_of

        observed = measured.get("observed")
        if not observed:
            raise PruneryError(
                "quantize method 'qat': no layer of the network was trained under simulated quantization: put "
                "finetune=qat before it, or train the base with qat"
            )
        if unseen := [key for key in weights if key not in observed]:
            log.warning("quantize method qat leaves in floating point what did not simulate: %s", ", ".join(unseen))
        return {key: plan_of(weights[key], row) for key, row in observed.items()}


@hookimpl
def register_methods() -> list[type]:
    """The methods of this plugin."""
    return [Qat]
