"""What families of networks share: reading a spec, and trying a new network out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prunery.errors import PruneryError

if TYPE_CHECKING:
    from torch import nn

    from prunery.data import Spec


def image_shape(spec: Spec, model: str) -> tuple[int, int, int]:
    """(channels, height, width) of the data. Raises `PruneryError` if they are no images."""
    if spec.kind != "image":
        raise PruneryError(
            f"model {model!r} wants images, but the data are of kind {spec.kind!r}: choose another model"
        )
    channels, height, width = spec.shape
    return channels, height, width


def text_length(spec: Spec, model: str) -> int:
    """Tokens of a text. Raises `PruneryError` if the data are no texts."""
    if spec.kind != "text":
        raise PruneryError(f"model {model!r} wants texts, but the data are of kind {spec.kind!r}: choose another model")
    return spec.shape[0]


def try_out(network: nn.Module, spec: Spec, model: str) -> nn.Module:
    """The network, once it has answered two samples with `[2, classes]` logits; its mode is left as it was.

    Raises `PruneryError` saying why it does not fit the data.
    """
    import torch

    training = network.training
    try:
        with torch.no_grad():
            answer = tuple(network.eval()(spec.example(2)).shape)
    except (RuntimeError, ValueError, TypeError, AssertionError, IndexError, AttributeError) as error:
        why = f"{type(error).__name__}: {error}"
        raise PruneryError(
            f"{model} does not take inputs of shape {list(spec.shape)} ({why}): choose another size"
        ) from error
    if answer != (2, spec.classes):
        raise PruneryError(f"{model} answers two samples with {list(answer)}, not with logits [2, {spec.classes}]")
    return network.train(training)
