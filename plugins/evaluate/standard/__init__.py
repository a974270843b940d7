"""Accuracy, loss, and how the predictions differ from the dense network's."""

from __future__ import annotations

from typing import TYPE_CHECKING, final

from pydantic import Field

from prunery import Evaluator, Settings, hookimpl

if TYPE_CHECKING:
    from collections.abc import Iterable

    from torch import Tensor, nn


class StandardSettings(Settings):
    """Settings of the standard evaluation."""

    batch: int = Field(256, ge=1, description="samples at a time; changes memory and time, not the figures")


@final
class Standard(Evaluator):
    """One pass over a split."""

    name = "standard"
    Settings = StandardSettings
    compares = ("agreement", "divergence")

    def figures(
        self, network: nn.Module, dense: nn.Module, batches: Iterable[tuple[Tensor, Tensor]]
    ) -> dict[str, float]:
        """`accuracy` and `agreement` (shares of the samples, 0 to 1), `loss` (mean cross-entropy, nats), `divergence`
        (mean KL of the dense network's predictions to these, nats), `samples`."""
        from .core import figures

        return figures(network, dense, batches)


@hookimpl
def register_methods() -> list[type]:
    """The methods of this plugin."""
    return [Standard]
