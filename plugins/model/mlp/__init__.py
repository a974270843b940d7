"""Multi-layer perceptrons of any depth and shape."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal, final

from pydantic import Field, model_validator

from prunery import Architecture, Settings, hookimpl

if TYPE_CHECKING:
    from torch import nn

    from prunery.data import Spec

Change = Literal["increase", "decrease", "equal"]


class MlpSettings(Settings):
    """Settings of the perceptron: `widths`, or `depth`, `width` and `shape`."""

    depth: int = Field(1, ge=1, le=64, description="hidden layers; left out, one more than shape has entries")
    width: int = Field(100, ge=1, description="units of the first hidden layer")
    shape: tuple[Change, ...] = Field(
        (),
        description="how the width changes from each hidden layer to the next, `depth` - 1 entries; empty: all equal",
    )
    factor: float = Field(2.0, gt=1, description="by which an `increase` multiplies and a `decrease` divides the width")
    widths: tuple[Annotated[int, Field(ge=1)], ...] = Field(
        (), description="units of every hidden layer, in place of depth, width and shape"
    )
    std: float | None = Field(
        None, gt=0, description="standard deviation of the initial weights; null: sqrt(2 / inputs of the layer)"
    )

    @model_validator(mode="before")
    @classmethod
    def _depth_of_shape(cls, given: Any) -> Any:
        if isinstance(given, dict) and isinstance(given.get("shape"), list | tuple) and given["shape"]:
            return {"depth": len(given["shape"]) + 1, **given}
        return given

    @model_validator(mode="after")
    def _one_spelling(self) -> MlpSettings:
        default = MlpSettings.model_fields
        if self.widths and any(getattr(self, name) != default[name].default for name in ("depth", "width", "shape")):
            raise ValueError("give widths, or depth, width and shape, not both")
        if self.shape and len(self.shape) != self.depth - 1:
            raise ValueError(f"shape has {len(self.shape)} entries, {self.depth} hidden layers want {self.depth - 1}")
        return self


@final
class Mlp(Architecture):
    """Flatten, then linear maps with ReLU between them."""

    name = "mlp"
    Settings = MlpSettings
    batched = True

    def build(self, spec: Spec) -> nn.Module:
        """Linear -> ReLU for every hidden layer, then a linear map to the classes."""
        from prunery.architectures import image_shape

        from .core import hidden_widths, perceptron

        channels, height, width = image_shape(spec, self.name)
        chosen = self.settings
        widths = chosen.widths or hidden_widths(chosen.depth, chosen.width, chosen.shape, chosen.factor)
        return perceptron(channels * height * width, widths, spec.classes, chosen.std)


@hookimpl
def register_methods() -> list[type]:
    """The methods of this plugin."""
    return [Mlp]
