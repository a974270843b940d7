"""Quantization-aware training, which `train` and `finetune` share. Importing this module imports no torch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from prunery.errors import PruneryError
from prunery.sparsity import included
from prunery.supervised import SupervisedLearner
from prunery.trainsettings import TrainingSettings

if TYPE_CHECKING:
    from torch import Tensor, nn

ROUNDING = {"bits", "averaging", "weight_scales", "zero_point"}
"""The settings that say how layers round."""


class QatSettings(TrainingSettings):
    """Settings of quantization-aware training, beside those of training."""

    epochs: int = Field(20, ge=1, description="most passes over the training split; ranges are observed in them")
    bits: Literal[8] = Field(8, description="bits of weights and activations; only 8 so far")
    averaging: float = Field(
        0.01, gt=0, le=1, description="share of the newest batch's extremes in the moving average of a range"
    )
    weight_scales: Literal["tensor", "channel"] = Field(
        "tensor", description="one scale per weight, or one per output channel"
    )
    zero_point: Literal["fitted", "rounded"] = Field(
        "fitted",
        description="grid of an activation: scale fitted to an integer zero point so that no end is clipped, or scale "
        "from the range and zero point rounded, as PyTorch does",
    )
    exclude: tuple[str, ...] = Field((), description="patterns (as in a shell) of keys that stay in floating point")


class QatLearner(SupervisedLearner):
    """Supervised training of layers that round as the integers will."""

    Settings = QatSettings

    def edits(self, network: nn.Module, example: Tensor) -> list[dict[str, Any]]:
        """Fold batch norms and let every layer that runs simulate; nothing for a network that simulates already.

        Raises `PruneryError` if the network runs no `Linear` or `Conv2d` as a module.
        """
        from prunery.edits import fake_quantize_edit, fold_edit
        from prunery.fakequant import Rounding
        from prunery.folding import batch_norm_pairs, folded
        from prunery.layers import compressible, is_plain
        from prunery.simulating import simulating_layers
        from prunery.wiring import wiring

        if next(simulating_layers(network), None):
            return []
        plain = {key for key, layer in compressible(network) if is_plain(layer)}
        wires = {key: wire for key, wire in wiring(folded(network, example), example).items() if key in plain}
        if not wires:
            who = f"{self.stage} method {self.name!r}"
            raise PruneryError(f"{who}: the network runs no Linear or Conv2d to quantize: choose another model")
        keys = included(wires, self.settings.exclude)
        options = self.settings.model_dump(include=ROUNDING)
        roundings = {}
        for key in keys:
            source = wires[key].source if wires[key].source in keys else None
            roundings[key] = Rounding(**options, rectified=wires[key].rectified, source=source)
        pairs = batch_norm_pairs(network, example)
        return [*([fold_edit(pairs)] if pairs else []), fake_quantize_edit(roundings)]
