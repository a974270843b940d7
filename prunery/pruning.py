"""The contracts of pruning: which weights stay, which channels stay, and what a channel is worth. Imports no torch."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from prunery.method import Method

if TYPE_CHECKING:
    import torch
    from jaxtyping import Bool, Float
    from torch import Tensor

    from prunery.coupling.structure import Kept, Structure

# What a need is called (`activations`, `mp`) -> key of the weight -> what was measured of it.
Measured = Mapping[str, Mapping[str, Mapping[str, Any]]]


class PruneMethod(Method):
    """What all pruners are; extend `Pruner`, `LayerPruner` or `ChannelPruner`."""

    stage = "prune"
    conflicts = ("quantize",)


class Pruner(PruneMethod):
    """Chooses which weights stay, looking at the whole network."""

    changes = ("zeros",)

    @abstractmethod
    def masks(
        self, weights: Mapping[str, Float[Tensor, "out ..."]], measured: Measured, generator: torch.Generator
    ) -> dict[str, Bool[Tensor, "out ..."]]:
        """True where a weight stays, by key of `weights` (all compressible weights of one network).

        Keys left out are left alone, and which they are must not depend on values, so that replicas stay alike.
        `weights` must not be changed. Weights that are zero already may be pruned again: they count as pruned.
        `generator` is seeded from the replica's seed; draw randomness from it alone.
        """


class LayerPruner(Pruner):
    """A pruner that looks at one layer at a time: write `mask`."""

    @abstractmethod
    def mask(
        self, key: str, weight: Float[Tensor, "out ..."], measured: Measured, generator: torch.Generator
    ) -> Bool[Tensor, "out ..."]:
        """True where a weight of this layer stays."""

    def masks(self, weights: Mapping[str, Tensor], measured: Measured, generator: torch.Generator) -> dict[str, Tensor]:
        """`mask` of every layer."""
        return {key: self.mask(key, weight, measured, generator) for key, weight in weights.items()}


@dataclass(frozen=True)
class Layer:
    """A layer that makes channels, as scores see it. Nothing of it may be changed.

    `norm_scale` is the scale of the batch norm that alone reads its output, if there is one. `measured` holds, by
    variant, what was measured of this layer.
    """

    key: str
    weight: Float[Tensor, "out ..."]
    bias: Float[Tensor, " out"] | None = None
    norm_scale: Float[Tensor, " out"] | None = None
    measured: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


class Score(Method):
    """What each output channel of a layer is worth. Named by the settings of methods that remove channels."""

    stage = "score"

    @abstractmethod
    def score(self, layer: Layer, generator: torch.Generator) -> Float[Tensor, " out"] | None:
        """A finite number per output channel, higher = keep; None if this score says nothing of such a layer.

        Draw randomness from `generator` alone, which is seeded from the replica's seed.
        """


class ChannelPruner(PruneMethod):
    """Chooses which channels stay; the others are removed from every tensor that holds something of them."""

    changes = ("parameters",)

    @property
    def zeroes(self) -> bool:
        """Whether channels are held at zero by masks, and shapes stay as they are, instead of being removed."""
        return False

    def promises(self) -> tuple[str, ...]:
        """Fewer parameters, or more of them held at zero."""
        return ("zeros",) if self.zeroes else self.changes

    @abstractmethod
    def keep(
        self, structure: Structure, layers: Mapping[str, Layer], measured: Measured, generator: torch.Generator
    ) -> Kept:
        """By name of a group of `structure`, True where a unit stays; groups left out stay whole.

        `layers` are those that the groups name, by key. `generator` is seeded from the replica's seed.
        """
