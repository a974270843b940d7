"""Sum of the absolute weights of a channel."""

from __future__ import annotations

from typing import TYPE_CHECKING, final

from prunery import Layer, Score, hookimpl

if TYPE_CHECKING:
    import torch
    from torch import Tensor


@final
class L1(Score):
    """Sum of the absolute weights of a channel."""

    name = "l1"

    def score(self, layer: Layer, generator: torch.Generator) -> Tensor:
        """The L1 norm of each channel's weights."""
        from .core import l1_norms

        return l1_norms(layer.weight)


@hookimpl
def register_methods() -> list[type]:
    """The methods of this plugin."""
    return [L1]
