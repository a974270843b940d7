"""Sums of outer products of a layer's inputs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from prunery.errors import PruneryError
from prunery.layers import compressible
from prunery.patches import patches_of

Batches = Iterable[tuple[Tensor, Int[Tensor, " batch"]]]


def input_moments(network: nn.Module, batches: Batches, settings: Any) -> dict[str, dict[str, Tensor]]:
    """Second moments by key of every compressible layer that runs; the network is left as it was.

    Raises `PruneryError` naming a layer whose input is not finite, and if there are no batches.
    """
    found = {key: LayerMoments(key, layer, settings) for key, layer in compressible(network)}
    layers, ran = dict(compressible(network)), False
    handles = [layers[key].register_forward_hook(each.hook, with_kwargs=True) for key, each in found.items()]
    try:
        with torch.no_grad():
            for inputs, _ in batches:
                logits, ran = network(inputs), True
                for each in found.values():
                    each.compare(logits)
    finally:
        for handle in handles:
            handle.remove()
    if not ran:
        raise PruneryError("calibration got no data: raise `samples`")
    return {key: each.row() for key, each in found.items() if each.rows}


class LayerMoments:
    """Sums over all that has run through one layer."""

    def __init__(self, key: str, layer: nn.Module, settings: Any) -> None:
        self.key, self.by_position = key, settings.layout == "channels"
        weight = layer.get_parameter("weight")
        self.places = weight[0, 0].numel()
        self.wide = weight.shape[1] if self.by_position else weight[0].numel()
        self.measured = self.wide <= settings.widest
        self.sums: Tensor | float = 0.0
        self.absolute: Tensor | float = 0.0
        self.rows = 0
        self.output: Tensor | None = None
        self.gives_logits = True

    def hook(self, layer: nn.Module, args: tuple[Tensor, ...], kwargs: dict[str, Tensor], output: Tensor) -> None:
        """A forward hook that takes one batch in."""
        if not self.measured:
            return
        self.output = output
        inputs = (args[0] if args else kwargs["input"]).detach().float()
        if not bool(inputs.isfinite().all()):
            raise PruneryError(
                f"the input of {self.key}'s layer is not finite: train the network again with a lower learning rate"
            )
        for patches in patches_of(layer, inputs):
            vectors = self._vectors(patches)
            self.sums += (vectors @ vectors.mT).double()
            self.absolute += vectors.abs().sum(-1).double()
            self.rows += vectors.shape[-1]

    def compare(self, logits: Tensor) -> None:
        """Note whether what the layer gave last is the network's output, moved perhaps."""
        same = self.output is not None and self.output.numel() == logits.numel()
        self.gives_logits &= same and torch.equal(self.output.flatten(), logits.flatten())  # type: ignore[union-attr]
        self.output = None

    def _vectors(self, patches: Float[Tensor, "batch features positions"]) -> Float[Tensor, "groups places wide rows"]:
        """The layer's inputs, one column per output position."""
        places = self.places if self.by_position else 1
        split = patches.reshape(len(patches), -1, self.wide, places, patches.shape[2])
        return split.permute(1, 3, 2, 0, 4).flatten(3)

    def row(self) -> dict[str, Tensor]:
        """What was found; the card says what each entry is."""
        moments, absolute = ((torch.as_tensor(each) / self.rows).float() for each in (self.sums, self.absolute))
        gives_logits = torch.tensor(self.gives_logits)
        return {"input_moments": moments, "input_mean_abs": absolute, "gives_logits": gives_logits}
