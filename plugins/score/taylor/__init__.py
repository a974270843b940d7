"""How much the loss would change without a channel, to first or second order."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, final

from pydantic import Field

from prunery import Layer, Score, Settings, hookimpl

if TYPE_CHECKING:
    import torch
    from torch import Tensor


class TaylorSettings(Settings):
    """Which expansion, and where the gradients come from."""

    order: Literal["removal", "filter", "first", "second"] = Field(
        "removal",
        description="removal: mean square over samples of the change, to first order, when all that reads the channel "
        "loses it; filter: when its weights are zero; first: sum of |w| mean |g|; second: sum of w^2 fisher / 2",
    )
    gradients: str = Field("gradients", description="variant of calibrate=gradients that measured them")


@final
class Taylor(Score):
    """Taylor expansion of the loss at the trained weights."""

    name = "taylor"
    Settings = TaylorSettings

    def needs(self) -> tuple[str, ...]:
        """Gradients of the network that loses channels."""
        return (f"calibrate={self.settings.gradients}",)

    def score(self, layer: Layer, generator: torch.Generator) -> Tensor | None:
        """The estimated change of the loss (nats; squared for `removal` and `filter`) by each channel."""
        from .core import changes

        return changes(layer.weight, layer.measured[self.settings.gradients], self.settings.order)


@hookimpl
def register_methods() -> list[type]:
    """The methods of this plugin."""
    return [Taylor]
