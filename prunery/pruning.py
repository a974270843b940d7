"""The contracts of pruning: which weights stay, which channels stay, and what a channel is worth. Imports no torch."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from prunery.method import Method

if TYPE_CHECKING:
    import torch
    from jaxtyping import Bool, Float, Int
    from torch import Tensor, nn

    from prunery.contract import Learner
    from prunery.coupling.structure import Kept, Structure
    from prunery.edits import Edit

# What a need is called (`activations`, `mp`) -> key of the weight -> what was measured of it.
Measured = Mapping[str, Mapping[str, Mapping[str, Any]]]


class PruneMethod(Method):
    """What all pruners are; extend `Pruner`, `LayerPruner`, `ChannelPruner`, `Projector`, `Selector` or `Rewirer`."""

    stage = "prune"
    conflicts: ClassVar[tuple[str, ...]] = ("quantize",)


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


@dataclass(frozen=True)
class Projection:
    """What becomes of one weight.

    `weight`: its new values, of the same shape; where `mask` is False they are taken for zero. `mask`: True where the
    weight lives; it replaces an earlier one, so weights may revive. None: no weight is frozen that was not before, and
    those that were stay zero. `permutation`: input channel of the present layer by new position, if the weight's
    columns stand in another order from now on; the layer's input is gathered in that order.
    """

    weight: Float[Tensor, "out ..."]
    mask: Bool[Tensor, "out ..."] | None = None
    permutation: Int[Tensor, " channels"] | None = None


class Projector(PruneMethod):
    """Chooses new values as well as which weights stay; weights that were zero may revive."""

    changes = ("values",)

    @property
    def restores(self) -> bool:
        """Whether it reads the recipe's dense weights."""
        return False

    @abstractmethod
    def project(
        self,
        weights: Mapping[str, Float[Tensor, "out ..."]],
        dense: Mapping[str, Float[Tensor, "out ..."]],
        measured: Measured,
        generator: torch.Generator,
    ) -> dict[str, Projection]:
        """What becomes of each weight, by key of `weights`; keys left out are left alone.

        `dense` holds the same weights as the recipe's base was trained, in the present order of columns; it is empty
        unless the method `restores`. Neither may be changed. Which keys are answered must not depend on values.
        """


class Selector(PruneMethod):
    """Prunes too much, trains what was taken away for a while, and brings the best of it back."""

    changes = ("zeros",)
    library = ("prunery.selecting",)

    @property
    def keeps_trained(self) -> bool:
        """Whether weights come back with the value they were trained to, or with the parent's."""
        return True

    @abstractmethod
    def trial(
        self, weights: Mapping[str, Float[Tensor, "out ..."]], measured: Measured, generator: torch.Generator
    ) -> dict[str, Bool[Tensor, "out ..."]]:
        """False for the reservoir: what is taken away, weights that are zero already included. As `Pruner.masks`.

        An empty answer: nothing is trained, and `select` is shown the parent's weights as they are.
        """

    @abstractmethod
    def learner(self) -> Learner:
        """The recipe that trains the reservoir from zero, all else frozen; the parent network is its teacher."""

    @abstractmethod
    def select(
        self,
        before: Mapping[str, Float[Tensor, "out ..."]],
        after: Mapping[str, Float[Tensor, "out ..."]],
        trial: Mapping[str, Bool[Tensor, "out ..."]],
        measured: Measured,
        generator: torch.Generator,
    ) -> dict[str, Bool[Tensor, "out ..."]]:
        """True where a weight stays in the end: all that `trial` kept, and the best of the reservoir.

        `before` holds the weights as the training of the reservoir found them (zero there), `after` as it left them.
        """


class Rewirer(PruneMethod):
    """Changes what the network computes by edits that need no choice of weights: merged tokens, factors of a layer."""

    changes = ("graph",)

    @abstractmethod
    def edits(self, network: nn.Module, example: Tensor, measured: Measured, generator: torch.Generator) -> list[Edit]:
        """The edits (`prunery.edits`), which the stage replays on a copy, values included; `network` is left as it is.

        `example` is a valid input batch. Raises `PruneryError` in one line for a network they do not fit.
        """
