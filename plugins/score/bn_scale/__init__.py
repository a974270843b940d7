"""Scale of the batch norm behind a layer."""

from __future__ import annotations

from typing import TYPE_CHECKING, final

from prunery import Layer, Score, hookimpl

if TYPE_CHECKING:
    import torch
    from torch import Tensor


@final
class BnScale(Score):
    """|gamma| of the batch norm that reads the layer's output."""

    name = "bn_scale"

    def score(self, layer: Layer, generator: torch.Generator) -> Tensor | None:
        """The absolute scale of each channel; None without a batch norm."""
        return None if layer.norm_scale is None else layer.norm_scale.abs()


@hookimpl
def register_methods() -> list[type]:
    """The methods of this plugin."""
    return [BnScale]
