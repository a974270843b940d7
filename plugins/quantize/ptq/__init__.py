"""Post-training quantization to 8-bit integers."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, Literal, final

from pydantic import Field

from prunery import Measured, Quantizer, Settings, hookimpl
from prunery.sparsity import included

if TYPE_CHECKING:
    from torch import Tensor

    from prunery.integer import IntegerPlan

log = logging.getLogger("prunery.quantize.ptq")


class PtqSettings(Settings):
    """Settings of post-training quantization."""

    amount: ClassVar[str | None] = "bits"

    bits: Literal[8] = Field(8, description="bits of weights and activations; only 8 so far")
    range: Literal["minmax", "percentile"] = Field(
        "minmax", description="range of an activation: its extremes, or its quantiles (the rest is clipped)"
    )
    percentile: float = Field(
        99.9, gt=50, le=100, description="share in percent below the upper end (above the lower end), for percentile"
    )
    first_last: Literal["int8", "float"] = Field(
        "int8", description="whether the first and the last layer are quantized too or stay in floating point"
    )
    exclude: tuple[str, ...] = Field((), description="patterns (as in a shell) of keys that stay in floating point")
    calibration: str = Field("activations", description="variant of calibrate that tells the ranges")


@final
class Ptq(Quantizer):
    """Weights per channel, symmetric; activations per tensor, affine, from calibrated ranges."""

    name = "ptq"
    Settings = PtqSettings

    def needs(self) -> tuple[str, ...]:
        """The ranges of activations."""
        return (f"calibrate={self.settings.calibration}",)

    def plan(self, weights: Mapping[str, Tensor], measured: Measured) -> dict[str, IntegerPlan]:
        """A plan for every layer that ran while calibrating and is not excluded; see `Quantizer.plan`."""
        from .core import layer_plan

        settings = self.settings
        keys = list(included(weights, settings.exclude))
        if settings.first_last == "float":
            ends = {next(iter(weights)), next(reversed(list(weights)))}
            keys = [key for key in keys if key not in ends]
        ranges = measured[settings.calibration]
        if unseen := [key for key in keys if key not in ranges]:
            log.warning("quantize method ptq leaves as it is what no sample ran through: %s", ", ".join(unseen))
        share = settings.percentile / 100 if settings.range == "percentile" else 1.0
        return {key: layer_plan(weights[key], ranges[key], share) for key in keys if key in ranges}


@hookimpl
def register_methods() -> list[type]:
    """The methods of this plugin."""
    return [Ptq]
