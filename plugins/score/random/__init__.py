"""Chance: what every other score should beat."""

from __future__ import annotations

from typing import TYPE_CHECKING, final

from prunery import Layer, Score, hookimpl

if TYPE_CHECKING:
    import torch
    from torch import Tensor


@final
class Random(Score):
    """Numbers drawn uniformly between 0 and 1, different for each replica."""

    name = "random"

    def score(self, layer: Layer, generator: torch.Generator) -> Tensor:
        """A number per channel, in the order of the layers."""
        from .core import drawn

        return drawn(len(layer.weight), generator)


@hookimpl
def register_methods() -> list[type]:
    """The methods of this plugin."""
    return [Random]
