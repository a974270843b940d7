"""Weights stored in fewer bits, activations left in fp32."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, final

from prunery import Measured, Quantizer, hookimpl
from prunery.formats import FormatSettings, layer_formats

if TYPE_CHECKING:
    from torch import Tensor

    from prunery.weightonly import WeightPlan


@final
class Weights(Quantizer):
    """fp16, bf16, int8 or int4 weights, each layer in a format of its own if asked."""

    name = "weights"
    Settings = FormatSettings

    def plan(self, weights: Mapping[str, Tensor], measured: Measured) -> dict[str, WeightPlan]:
        """A plan for every layer whose format is not fp32; see `Quantizer.plan`."""
        from prunery.weightonly import weight_plans

        return weight_plans(weights, layer_formats(weights, self.settings, self.settings.format), self.settings)


@hookimpl
def register_methods() -> list[type]:
    """The methods of this plugin."""
    return [Weights]
