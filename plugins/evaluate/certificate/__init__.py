"""What the weights that were taken away may cost at most, and whether the theorems that say so hold."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal, final

from pydantic import Field

from prunery import Evaluator, Settings, hookimpl

if TYPE_CHECKING:
    from collections.abc import Iterable

    from torch import Tensor, nn


class CertificateSettings(Settings):
    """Which samples run, what counts as taken away, the penalty, and how far along the way is looked."""

    samples: int = Field(64, ge=1, description="samples of each split, drawn at random (all, if there are fewer)")
    seed: int = Field(0, ge=0, description="seed of the draw, of the noise and of the factors per weight")
    batch: int = Field(256, ge=2, description="rows at a time, each a sample at one point of its way")
    bounds: bool = Field(True, description="whether budgets and inequalities are computed beside the proxy")
    removed: Literal["difference", "zeros"] = Field(
        "difference",
        description="what was taken away: the dense weight minus this one, or the dense weight where this one is zero",
    )
    l2: float = Field(1e-4, ge=0, description="factor of the squared weights in the objective")
    l1: float = Field(1e-6, ge=0, description="factor of the absolute weights in the objective")
    thetas: tuple[Annotated[float, Field(ge=0, lt=1)], ...] = Field(
        (0.0, 0.25, 0.5, 0.75), min_length=1, description="shares of the removed part at which bounds are tried"
    )
    pieces: int = Field(
        512, ge=0, description="linear pieces of a sample's way up to which the constant is exact; 0: never"
    )
    secants: int = Field(9, ge=1, description="equal steps of the way by which it is sampled elsewhere")
    restore: float = Field(
        0.03, ge=0, lt=1, description="share of a layer's weights that is pruned and restored, for the fifth inequality"
    )
    draws: int = Field(20, ge=1, description="draws of Gaussian noise, for the eighth inequality")
    delta: float = Field(0.05, gt=0, lt=1, description="probability with which the eighth inequality may fail")


@final
class Certificate(Evaluator):
    """Budgets, inequalities and the operator-norm proxy, layer by layer and for the network."""

    name = "certificate"
    Settings = CertificateSettings

    def figures(self, network: nn.Module, dense: nn.Module, batches: Iterable[tuple[Tensor, Tensor]]) -> dict[str, Any]:
        """Figures of the network, and under `layers` those of each layer; the card lists them."""
        from .core import certificates

        return certificates(network, dense, batches, self.settings)


@hookimpl
def register_methods() -> list[type]:
    """The methods of this plugin."""
    return [Certificate]
