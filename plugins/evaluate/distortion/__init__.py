"""How far the weights and outputs of each layer lie from the dense network's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, final

from pydantic import Field

from prunery import Evaluator, Settings, hookimpl

if TYPE_CHECKING:
    from collections.abc import Iterable

    from torch import Tensor, nn


class DistortionSettings(Settings):
    """Which samples run, and what is compared."""

    samples: int = Field(512, ge=1, description="samples of each split, drawn at random (all, if there are fewer)")
    seed: int = Field(0, ge=0, description="seed of the draw")
    batch: int = Field(64, ge=1, description="samples at a time; every layer's output is held for so many")
    inputs: Literal["own", "dense"] = Field(
        "own",
        description="what the compressed layers get: what reaches them in their own network, so that errors add up, or "
        "the dense network's activations, so that each layer shows its own error",
    )
    rectified: bool = Field(
        True, description="compare outputs behind the ReLU that alone uses them, or as they leave the layer"
    )


@final
class Distortion(Evaluator):
    """Mean squared errors and signal-to-quantization-noise ratios, layer by layer and on average."""

    name = "distortion"
    Settings = DistortionSettings

    def figures(self, network: nn.Module, dense: nn.Module, batches: Iterable[tuple[Tensor, Tensor]]) -> dict[str, Any]:
        """Averages over layers, and under `layers` the figures of each; the card lists them."""
        from .core import distortions

        return distortions(network, dense, batches, self.settings)


@hookimpl
def register_methods() -> list[type]:
    """The methods of this plugin."""
    return [Distortion]
