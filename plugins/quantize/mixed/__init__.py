"""Weights in different formats, layer by layer, where each hurts least."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal, final

from pydantic import Field, model_validator

from prunery import Measured, Quantizer, hookimpl
from prunery.formats import Format, GridSettings
from prunery.sparsity import included

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from prunery.plans import Plan


class MixedSettings(GridSettings):
    """Which rule chooses, and between which formats."""

    amount: ClassVar[str | None] = "bits"

    rule: Literal["first_last", "hessian_activation", "sensitivity"] = Field(
        "first_last",
        description="protect the first and the last layer, or the layers of highest curvature and activation variance, "
        "or choose formats such that the sum of the measured losses is least under a budget",
    )
    low: Format = Field("int4", description="format of the layers that are not protected, for the first two rules")
    high: Format = Field("fp16", description="format of the protected layers, for the first two rules")
    share: float = Field(
        0.3, gt=0, le=1, description="share of the layers that hessian_activation protects, rounded down"
    )
    trace: Literal["trace", "trace_per_weight"] = Field(
        "trace", description="curvature of a layer: the Hessian's trace, or that over the number of weights"
    )
    bits: float | None = Field(
        None,
        gt=0,
        le=64,
        description="budget of rule sensitivity: bits per weight, scales and biases included; null: 6",
    )
    size: float | None = Field(
        None, gt=0, description="in place of bits, the budget in MiB of all layers it chooses for"
    )
    formats: tuple[Format, ...] = Field(
        ("fp16", "int8", "int4"), min_length=1, description="formats that rule sensitivity chooses from"
    )
    hessian: str = Field("hessian", description="variant of calibrate that measured curvatures")
    calibration: str = Field("activations", description="variant of calibrate that measured activation variances")
    allocation: str = Field("formats", description="variant of calibrate that measured losses, in mode formats")
    exclude: tuple[str, ...] = Field((), description="patterns (as in a shell) of keys that stay in fp32, uncounted")

    @model_validator(mode="after")
    def _budget(self) -> MixedSettings:
        if self.bits is not None and self.size is not None:
            raise ValueError("bits (also as @5.5) and size are two budgets: give one of them")
        if self.rule != "sensitivity" and (self.bits, self.size) != (None, None):
            raise ValueError(f"rule {self.rule} knows no budget: leave out bits and size, or take rule sensitivity")
        return self


@final
class Mixed(Quantizer):
    """Chooses a format for each layer; rounds as `quantize=weights` does."""

    name = "mixed"
    Settings = MixedSettings

    def needs(self) -> tuple[str, ...]:
        """What the rule looks at."""
        settings = self.settings
        return {
            "first_last": (),
            "hessian_activation": (f"calibrate={settings.hessian}", f"calibrate={settings.calibration}"),
            "sensitivity": (f"calibrate={settings.allocation}",),
        }[settings.rule]

    def chosen(self, weights: Mapping[str, Tensor], measured: Measured) -> dict[str, str]:
        """The format of every layer that is not excluded. Raises `PruneryError` if a budget cannot be met."""
        from . import core

        keys = included(weights, self.settings.exclude)
        shown = {key: weights[key] for key in keys}
        if self.settings.rule == "sensitivity":
            return core.within_budget(shown, measured[self.settings.allocation], self.settings)
        if self.settings.rule == "first_last":
            protected = {keys[0], keys[-1]}
        else:
            protected = core.most_curved(keys, measured, self.settings)
        return {key: self.settings.high if key in protected else self.settings.low for key in keys}

    def plan(self, weights: Mapping[str, Tensor], measured: Measured) -> Mapping[str, Plan]:
        """Plans for the layers that are not to stay in fp32; see `Quantizer.plan`."""
        from prunery.weightonly import weight_plans

        return weight_plans(weights, self.chosen(weights, measured), self.settings)


@hookimpl
def register_methods() -> list[type]:
    """The methods of this plugin."""
    return [Mixed]
