"""Euclidean norm of the weights of a channel."""

from __future__ import annotations

from typing import TYPE_CHECKING, final

from prunery import Layer, Score, hookimpl

if TYPE_CHECKING:
    import torch
    from torch import Tensor


@final
class L2(Score):
    """Euclidean norm of the weights of a channel."""

    name = "l2"

    def score(self, layer: Layer, generator: torch.Generator) -> Tensor:
        """The L2 norm of each channel's weights."""
        from .core import l2_norms

        return l2_norms(layer.weight)


@hookimpl
def register_methods() -> list[type]:
    """The methods of this plugin."""
    return [L2]
