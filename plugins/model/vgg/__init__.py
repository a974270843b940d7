"""VGG networks of four depths: with batch norm for images of 32 pixels, or as published for 224."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, final

from pydantic import Field, model_validator

from prunery import Architecture, PruneryError, Settings, hookimpl

if TYPE_CHECKING:
    from torch import nn

    from prunery.data import Spec


class VggSettings(Settings):
    """Settings of a VGG network."""

    depth: Literal[11, 13, 16, 19] = Field(11, description="layers with weights: 11, 13, 16 or 19")
    variant: Literal["cifar", "imagenet"] = Field(
        "cifar", description="cifar: batch norm, average pool, 512-wide head; imagenet: no batch norm, 4096-wide head"
    )
    dropout: float = Field(0.5, ge=0, lt=1, description="share of the head's hidden units dropped in training")
    init: Literal["kaiming", "torch"] = Field(
        "kaiming",
        description="kaiming: normal, fan out; head normal 0.01; biases 0 (torchvision's); torch: layer defaults",
    )
    pretrained: bool = Field(
        False, description="torchvision's ImageNet weights, last layer fresh; variant imagenet only"
    )

    @model_validator(mode="after")
    def _published(self) -> VggSettings:
        if self.pretrained and self.variant != "imagenet":
            raise ValueError("pretrained weights exist for variant imagenet only")
        return self


@final
class Vgg(Architecture):
    """8 to 16 convolutions of 3x3 with five pools, three linear layers; modules `features.N` and `classifier.N`."""

    name = "vgg"
    Settings = VggSettings

    def build(self, spec: Spec) -> nn.Module:
        """The network for images of at least 32 x 32 pixels."""
        from prunery.architectures import image_shape

        from .core import VggNetwork, initialise

        shape = image_shape(spec, self.name)
        if min(shape[1:]) < 32:
            raise PruneryError(
                f"model 'vgg': five pools want images of 32 pixels or more, not {list(shape)}: resize the data"
            )
        chosen = self.settings
        network = VggNetwork(shape[0], spec.classes, chosen.depth, chosen.variant, chosen.dropout)
        if chosen.init == "kaiming":
            initialise(network)
        return network

    def create(self, spec: Spec) -> nn.Module:
        """As built, or with ImageNet weights in all but the last layer."""
        network = self.build(spec)
        if self.settings.pretrained:
            from prunery.foreign import fill

            from .core import imagenet_weights

            depth = self.settings.depth
            fill(network, imagenet_weights(depth), f"torchvision's VGG-{depth}", fresh=("classifier.6.*",))
        return network


@hookimpl
def register_methods() -> list[type]:
    """The methods of this plugin."""
    return [Vgg]
