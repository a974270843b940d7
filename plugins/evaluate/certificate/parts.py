"""What became of each weight: the part that was kept and the part that was taken away."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from prunery.errors import PruneryError
from prunery.factors import Factors
from prunery.folding import folded_like
from prunery.layers import as_matrix, compressible, quantized_layers
from prunery.permuting import ORDER

from .inequalities import is_mask


@dataclass(frozen=True)
class Parts:
    """S and R of one layer of the dense network, in double precision, in the shape of its weight."""

    kept: Float[Tensor, "out ..."]
    removed: Float[Tensor, "out ..."]

    @property
    def is_mask(self) -> bool:
        """Whether no weight is in both."""
        return is_mask(self.kept, self.removed)

    @property
    def norm(self) -> float:
        """The largest singular value of what was taken away."""
        return float(torch.linalg.matrix_norm(as_matrix(self.removed), 2))

    def over_pruned(self, share: float) -> Parts:
        """With the smallest weights that were kept taken away too: `share` of the layer's weights (all, if fewer are
        left)."""
        alive = self.kept.abs().flatten()
        count = min(round(share * alive.numel()), int(torch.count_nonzero(alive)))
        smallest = alive.masked_fill(alive == 0, torch.inf).argsort(stable=True)[:count]
        away = torch.zeros_like(alive, dtype=torch.bool).index_fill(0, smallest, True).reshape(self.kept.shape)
        return Parts(self.kept.masked_fill(away, 0), torch.where(away, self.kept, self.removed))


def layer_parts(network: nn.Module, dense: nn.Module, removed: str) -> dict[str, Parts | None]:
    """By key of the dense network's weights; None where the shape has changed, or the layer is gone.

    Raises `PruneryError` if a weight holds values that are not finite.
    """
    held = held_weights(network)
    found: dict[str, Parts | None] = {}
    for key, layer in compressible(dense):
        weight, now = layer.get_parameter("weight").detach(), held.get(key)
        if now is None or now.shape != weight.shape:
            found[key] = None
            continue
        kept = weight * (now != 0) if removed == "zeros" else now.detach().double()
        parts = Parts(kept, weight - kept)
        if not bool(parts.removed.isfinite().all()):
            raise PruneryError(f"certificate: {key} holds values that are not finite: train with a lower learning rate")
        found[key] = parts
    return found


def held_weights(network: nn.Module) -> dict[str, Float[Tensor, "out ..."]]:
    """What the weights of a compressed network mean, by key: in few bits, as the product of two factors, or with the
    columns in another order, too."""
    found = {key: _in_order(layer, layer.get_parameter("weight")) for key, layer in compressible(network)}
    found |= {key: _in_order(layer, layer.real_weight()) for key, layer in quantized_layers(network)}
    for name, layer in network.named_modules():
        if isinstance(layer, Factors):
            found[f"{name}.weight"] = _in_order(layer.right, layer.weight)
    return found


def _in_order(layer: nn.Module, weight: Float[Tensor, "out ..."]) -> Float[Tensor, "out ..."]:
    order = layer._buffers.get(ORDER)
    return weight if order is None else weight.index_select(1, order.argsort())


def gathered(batches: Iterable[tuple[Tensor, Tensor]]) -> tuple[Tensor, Int[Tensor, " samples"]]:
    """All inputs, images in double precision, and their labels. Raises `PruneryError` if there are none."""
    found = list(batches)
    if not found:
        raise PruneryError("there are no samples to certify on: raise `samples`")
    inputs, labels = (torch.cat(parts) for parts in zip(*found, strict=True))
    return (inputs.double() if inputs.is_floating_point() else inputs), labels


def reference(network: nn.Module, dense: nn.Module, example: Tensor) -> nn.Module:
    """A copy of the dense network in double precision, with the batch norms folded that are folded in the other."""
    return copy.deepcopy(folded_like(network, dense, example)).double().eval()


def largest_inputs(network: nn.Module, keys: Iterable[str], inputs: Tensor, batch: int) -> dict[str, Tensor]:
    """By key the largest absolute value that each sample brings to the layer; of layers that run as modules."""
    found: dict[str, list[Tensor]] = {}
    layers = [(key, network.get_submodule(key.rpartition(".")[0])) for key in keys]
    for block in inputs.split(batch):
        seen: dict[str, list[Tensor]] = {}
        handles = [
            layer.register_forward_hook(_noting(seen, key, len(block)), with_kwargs=True) for key, layer in layers
        ]
        try:
            network(block)
        finally:
            for handle in handles:
                handle.remove()
        for key, values in seen.items():
            found.setdefault(key, []).append(torch.stack(values).amax(0))
    return {key: torch.cat(values) for key, values in found.items()}


def _noting(seen: dict[str, list[Tensor]], key: str, count: int) -> Any:
    def note(layer: nn.Module, args: tuple[Tensor, ...], kwargs: dict[str, Tensor], output: Tensor) -> None:
        received = args[0] if args else kwargs["input"]
        if len(received) % count == 0:
            seen.setdefault(key, []).append(received.detach().reshape(count, -1).abs().amax(1))

    return note
