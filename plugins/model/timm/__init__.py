"""Any image network of timm, by name."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, final

from pydantic import Field

from prunery import Architecture, PruneryError, Settings, hookimpl

if TYPE_CHECKING:
    from torch import nn

    from prunery.data import Spec


class TimmSettings(Settings):
    """Settings of a timm network. Only `name` and `options` shape it; the others say where its values come from."""

    argument = "name"

    name: str = Field("resnet18", min_length=1, description="timm's name, such as resnet18 or vit_tiny_patch16_224")
    pretrained: bool = Field(False, description="fetch the published weights from the hub; the classifier is fresh")
    weights: str | None = Field(
        None, description="local file with a state dict of this network (.safetensors, .pt, .pth)"
    )
    options: dict[str, Any] = Field({}, description="further arguments of timm.create_model, such as drop_path_rate")


@final
class Timm(Architecture):
    """A network of the timm library, sized for the data."""

    name = "timm"
    Settings = TimmSettings
    imports = ("timm",)
    versions = ("timm",)

    def build(self, spec: Spec) -> nn.Module:
        """The network with its own initial values."""
        from .core import build

        return build(self.settings.name, spec, self.settings.options, pretrained=False)

    def create(self, spec: Spec) -> nn.Module:
        """As built, or with the hub's or the local file's values; tried out on two samples."""
        from prunery.architectures import try_out

        from .core import build, take_weights

        chosen = self.settings
        if chosen.pretrained and chosen.weights:
            raise PruneryError("model 'timm': give weights or pretrained, not both")
        network = build(chosen.name, spec, chosen.options, pretrained=chosen.pretrained)
        if chosen.weights:
            take_weights(network, Path(chosen.weights))
        return try_out(network, spec, f"model 'timm' {chosen.name}")

    def recorded(self) -> dict[str, Any]:
        """The name and options; timm's version stands in the provenance."""
        return {"name": self.settings.name, "options": self.settings.options}

    def files(self) -> list[Path]:
        """The local file of weights, if one is used."""
        if self.settings.weights is None:
            return []
        path = Path(self.settings.weights)
        if not path.is_file():
            raise PruneryError(f"model 'timm', setting weights: there is no file {path}")
        return [path]


@hookimpl
def register_methods() -> list[type]:
    """The methods of this plugin."""
    return [Timm]
