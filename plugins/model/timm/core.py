"""Building networks with timm."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import timm
from torch import nn

from prunery import PruneryError
from prunery.architectures import image_shape
from prunery.data import Spec
from prunery.errors import unknown
from prunery.foreign import fill, read_state


def build(name: str, spec: Spec, options: dict[str, Any], pretrained: bool) -> nn.Module:
    """timm's network for the spec's channels, classes and, where the network is made for one size, image size.

    Raises `PruneryError` if the name is unknown, the options or the size do not fit, or the hub cannot be reached.
    """
    if not timm.is_model(name):
        raise PruneryError(unknown("timm model", name, timm.list_models()))
    channels, height, width = image_shape(spec, "timm")
    wanted = {"num_classes": spec.classes, "in_chans": channels, **options}
    try:
        try:
            return timm.create_model(name, pretrained=pretrained, img_size=(height, width), **wanted)
        except TypeError as error:
            if "img_size" not in str(error):  # most convolutional networks take any size and no such argument
                raise
        return timm.create_model(name, pretrained=pretrained, **wanted)
    except Exception as error:  # the library raises whatever its networks and the hub's client do
        remedy = "connect, name a local file under weights, or set pretrained: false" if pretrained else "check options"
        why = f"{type(error).__name__}: {error}"
        raise PruneryError(f"model 'timm': {name} cannot be made for {list(spec.shape)} ({why}): {remedy}") from error


def take_weights(network: nn.Module, path: Path) -> None:
    """Fill the network from a file; a classifier for another number of classes stays fresh."""
    own, state = network.state_dict(), read_state(path)
    heads: Any = network.default_cfg["classifier"]  # type: ignore[index]
    names = (heads,) if isinstance(heads, str) else heads
    keys = [f"{name}.{part}" for name in names for part in ("weight", "bias")]
    resized = [key for key in keys if key in own and key in state and own[key].shape != state[key].shape]
    fill(network, state, str(path), fresh=resized)
