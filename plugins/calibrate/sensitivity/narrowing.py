"""Layers that lose channels, with all that only goes together."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any, final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from prunery.coupling.ranking import best, channel_layers, group_scores, units_left
from prunery.coupling.structure import Structure
from prunery.coupling.trials import CountLeft, proved_structure
from prunery.layers import layer_of
from prunery.registry import registry

from .alterations import Alteration, Figures, Values

Lost = dict[str, dict[int, Tensor]]
"""By key of a parameter and dimension, the indices that go."""


@final
class Narrower(Alteration):
    """The channels of lowest score are gone, wherever the network holds something of them; levels are shares.

    They are held at zero, and layer norms leave them out: that gives the outputs of the network without them.
    """

    def __init__(
        self,
        network: nn.Module,
        structure: Structure,
        name: str,
        scores: Float[Tensor, " units"],
        shares: Sequence[float],
    ) -> None:
        super().__init__(name, layer_of(network, name), shares)
        self.parameters = dict(network.named_parameters(remove_duplicate=False))
        self.channels = structure.groups[name].width * len(scores)
        counts = [max(1, units_left(len(scores), share)) for share in shares]
        self.lost = [self._lost(structure, best(scores, count)) for count in counts]

    def _lost(self, structure: Structure, kept: Tensor) -> Lost:
        found = structure.indices(structure.gone({self.key: kept}))
        return {
            key: {axis: _others(left, self.parameters[key].shape[axis]) for axis, left in axes.items()}
            for key, axes in found.items()
            if key in self.parameters
        }

    def values(self, level: int) -> Values:
        """Weights on both sides, biases and norms with zeros where channels go."""
        found = {}
        for key, axes in self.lost[level].items():
            found[key] = self.parameters[key].detach().clone()
            for axis, indices in axes.items():
                found[key].index_fill_(axis, indices.to(found[key].device), 0)
        return found

    def running(self) -> AbstractContextManager[Any]:
        """Layer norms count what is left."""
        return CountLeft()

    def told(self, accuracies: Sequence[float], losses: Sequence[float]) -> Figures:
        """Curves over the shares, and how many channels there are to lose."""
        curves = {"share": list(self.levels), "accuracy": list(accuracies), "loss": list(losses)}
        return curves | {"channels": self.channels}


def _others(left: Tensor, size: int) -> Tensor:
    """The indices below `size` that are not in `left`."""
    mask = torch.ones(size, dtype=torch.bool)
    mask[left] = False
    return mask.nonzero().flatten()


def narrowings(network: nn.Module, samples: Tensor, settings: Any) -> dict[str, Alteration]:
    """What is tried on each group of layers whose channels can go, by the key of its first layer."""
    pair = torch.cat([samples, samples])[:2].cpu()
    on_cpu = network if samples.device.type == "cpu" else copy.deepcopy(network).cpu()
    structure = proved_structure(on_cpu, pair)
    score: Any = registry().configured("score", settings.score, settings.score_settings)
    generator = torch.Generator().manual_seed(settings.seed)
    layers = channel_layers(on_cpu, structure, {}, pair)
    scores = group_scores(structure, layers, score, generator, settings.exclude)
    return {name: Narrower(network, structure, name, values, settings.shares) for name, values in scores.items()}
