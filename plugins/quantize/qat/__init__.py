"""The weights and grids that quantization-aware training simulated."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, Literal, final

from pydantic import Field

from prunery import Measured, Quantizer, Settings, hookimpl
from prunery.errors import PruneryError

if TYPE_CHECKING:
    from torch import Tensor

    from prunery.plans import Plan

log = logging.getLogger("prunery.quantize.qat")


class QatSettings(Settings):
    """Settings of the conversion; how values are rounded was settled in training."""

    amount: ClassVar[str | None] = "bits"

    bits: Literal[4, 8, 16] | None = Field(
        None, description="bits of a weight that training simulated, to be checked; null: whatever it simulated"
    )


@final
class Qat(Quantizer):
    """The very weights that the network was trained with."""

    name = "qat"
    Settings = QatSettings
    follows = ("finetune=qat", "train=qat")

    def plan(self, weights: Mapping[str, Tensor], measured: Measured) -> dict[str, Plan]:
        """A plan for every layer that simulated quantization in training; see `Quantizer.plan`.

        Raises `PruneryError` if there is none, or one of other bits than the settings say.
        """
        from .core import bits_of, plan_of

        observed = measured.get("observed")
        if not observed:
            raise PruneryError(
                "quantize method 'qat': no layer of the network was trained under simulated quantization: put "
                "finetune=qat before it, or train the base with qat"
            )
        if unseen := [key for key in weights if key not in observed]:
            log.warning("quantize method qat leaves in floating point what did not simulate: %s", ", ".join(unseen))
        plans = {key: plan_of(weights[key], row) for key, row in observed.items()}
        for key, row in observed.items():
            if self.settings.bits not in (None, bits_of(row)):
                raise PruneryError(
                    f"quantize method 'qat': {key} was trained with {bits_of(row)} bits, not {self.settings.bits}: "
                    "leave the setting bits out, or train with that many"
                )
        return plans


@hookimpl
def register_methods() -> list[type]:
    """The methods of this plugin."""
    return [Qat]
