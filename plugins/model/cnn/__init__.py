"""The smallest convolutional network: one convolution, one linear map."""

from __future__ import annotations

from typing import TYPE_CHECKING, final

from pydantic import Field

from prunery import Architecture, PruneryError, Settings, hookimpl

if TYPE_CHECKING:
    from torch import nn

    from prunery.data import Spec


class CnnSettings(Settings):
    """Settings of the one-convolution network."""

    channels: int = Field(8, ge=1, description="output channels of the convolution")
    kernel: int = Field(3, ge=1, description="height and width of the kernel, pixels")
    std: float = Field(0.01, gt=0, description="standard deviation of the linear map's initial weights")


@final
class Cnn(Architecture):
    """Convolution (stride 1, no padding), ReLU, flatten, linear map to the classes."""

    name = "cnn"
    Settings = CnnSettings
    batched = True

    def build(self, spec: Spec) -> nn.Module:
        """The network for images at least as large as the kernel."""
        from prunery.architectures import image_shape

        from .core import convolutional

        shape = image_shape(spec, self.name)
        if min(shape[1:]) < self.settings.kernel:
            raise PruneryError(
                f"model 'cnn': images {list(shape)} are smaller than the kernel: lower the setting kernel"
            )
        return convolutional(shape, self.settings.channels, self.settings.kernel, spec.classes, self.settings.std)


@hookimpl
def register_methods() -> list[type]:
    """The methods of this plugin."""
    return [Cnn]
