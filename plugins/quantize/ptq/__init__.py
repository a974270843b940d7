"""Post-training quantization of weights and activations to integers of 8 or 4 bits."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, Literal, final

from pydantic import Field, model_validator

from prunery import Measured, Quantizer, Settings, hookimpl
from prunery.sparsity import included

if TYPE_CHECKING:
    from torch import Tensor

    from prunery.integer import IntegerPlan

log = logging.getLogger("prunery.quantize.ptq")


class PtqSettings(Settings):
    """Settings of post-training quantization."""

    amount: ClassVar[str | None] = "bits"

    bits: Literal[8, 4] = Field(8, description="bits of weights and activations; no runtime has kernels for 4")
    range: Literal["minmax", "percentile"] = Field(
        "minmax", description="range of an activation: its extremes, or its quantiles (the rest is clipped)"
    )
    percentile: float = Field(
        99.9,
        gt=50,
        le=100,
        description="percent of values below the upper end (above the lower end); symmetric: of |a|",
    )
    activations: Literal["affine", "symmetric"] = Field(
        "affine",
        description="grid of an activation: from its lowest to its highest value, or as far below zero as above",
    )
    clip_weights: bool = Field(
        False, description="with range percentile: weights too are clipped, at that percentile of their layer's |w|"
    )
    first_last: Literal["integers", "float"] = Field(
        "integers", description="whether the first and the last layer are quantized too or stay in floating point"
    )
    exclude: tuple[str, ...] = Field((), description="patterns (as in a shell) of keys that stay in floating point")
    calibration: str = Field("activations", description="variant of calibrate that tells the ranges")

    @model_validator(mode="after")
    def _clipping_has_a_percentile(self) -> PtqSettings:
        if self.clip_weights and self.range != "percentile":
            raise ValueError("clip_weights goes with range: percentile, whose percentile it takes")
        return self


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
        from prunery.weightonly import check_clip

        from .core import layer_plan

        settings = self.settings
        keys = list(included(weights, settings.exclude))
        if settings.first_last == "float":
            ends = {next(iter(weights)), next(reversed(list(weights)))}
            keys = [key for key in keys if key not in ends]
        ranges = measured[settings.calibration]
        if unseen := [key for key in keys if key not in ranges]:
            log.warning("quantize method ptq leaves as it is what no sample ran through: %s", ", ".join(unseen))
        if settings.clip_weights:
            for key in keys:
                check_clip(key, weights[key], settings.percentile)
        return {key: layer_plan(weights[key], ranges[key], settings) for key in keys if key in ranges}


@hookimpl
def register_methods() -> list[type]:
    """The methods of this plugin."""
    return [Ptq]
