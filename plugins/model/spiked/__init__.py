"""Perceptrons whose hidden layers begin as a few spikes in Gaussian noise."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, final

from pydantic import Field, model_validator

from prunery import Architecture, Settings, hookimpl

if TYPE_CHECKING:
    from torch import nn

    from prunery.data import Spec


class SpikedSettings(Settings):
    """Width and number of the spiked layers, their spikes and their noise."""

    width: int = Field(256, ge=2, description="units of every hidden layer: spiked weights are width x width")
    layers: int = Field(1, ge=1, le=8, description="spiked layers, each behind a layer of the same width")
    strengths: tuple[Annotated[float, Field(gt=0)], ...] = Field(
        (6.0, 5.0, 4.0),
        description="singular values of S, in units of sqrt(g): above 1 a spike leaves the noise's bulk",
    )
    g: float = Field(1.0, ge=0, description="variance of the noise: entries of R are drawn from N(0, g / width)")

    @model_validator(mode="after")
    def _few_spikes(self) -> SpikedSettings:
        if len(self.strengths) > self.width:
            raise ValueError(f"{len(self.strengths)} strengths are more than the width {self.width} has room for")
        return self


@final
class Spiked(Architecture):
    """Flatten, linear, then one or more spiked linear maps, then a linear map to the classes; ReLU between them."""

    name = "spiked"
    Settings = SpikedSettings
    batched = True

    def build(self, spec: Spec) -> nn.Module:
        """The network; weights of the spiked layers are S + R with known singular values of S."""
        from prunery.architectures import image_shape

        from .core import spiked_perceptron

        channels, height, width = image_shape(spec, self.name)
        return spiked_perceptron(channels * height * width, spec.classes, self.settings)


@hookimpl
def register_methods() -> list[type]:
    """The methods of this plugin."""
    return [Spiked]
