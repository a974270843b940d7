"""Quantization-aware training, which `train` and `finetune` share. Importing this module imports no torch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, model_validator

from prunery.errors import PruneryError
from prunery.formats import Format, GridSettings, LayerSettings, is_integer, layer_formats
from prunery.sparsity import included
from prunery.supervised import SupervisedLearner
from prunery.trainsettings import TrainingSettings

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from torch import Tensor, nn

    from prunery.fakequant import Rounding, WeightRounding
    from prunery.wiring import Wire

ROUNDING = {"bits", "averaging", "weight_scales", "zero_point"}
"""The settings that say how layers round."""


class QatSettings(TrainingSettings, LayerSettings):
    """Settings of quantization-aware training, beside those of training."""

    epochs: int = Field(20, ge=1, description="most passes over the training split; ranges are observed in them")
    format: Format | None = Field(
        None, description="null: weights and activations are integers; else weights alone are rounded, to this format"
    )
    bits: Literal[8, 4] = Field(8, description="bits of weights and activations, where those are integers")
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

    @model_validator(mode="after")
    def _weights_alone(self) -> QatSettings:
        fields = {name: field.default for name, field in LayerSettings.model_fields.items() if name != "exclude"}
        given = [name for name, default in fields.items() if getattr(self, name) not in (default, {})]
        if self.format is None and given:
            raise ValueError(f"{', '.join(given)} goes with a format: say which one all other layers have")
        return self


class QatLearner(SupervisedLearner):
    """Supervised training of layers that round as the integers will."""

    Settings = QatSettings

    def edits(self, network: nn.Module, example: Tensor) -> list[dict[str, Any]]:
        """Let every layer that runs simulate; nothing for a network that simulates already.

        Where activations are rounded batch norms are folded first. Weights alone need no such thing: their norms go on
        normalising, since training without them costs more than rounding does.
        Raises `PruneryError` if the network runs no `Linear` or `Conv2d` as a module.
        """
        from prunery.edits import fake_quantize_edit, fold_edit
        from prunery.folding import batch_norm_pairs, folded
        from prunery.layers import compressible, is_plain
        from prunery.leftout import explaining
        from prunery.simulating import simulating_layers
        from prunery.wiring import wiring

        if next(simulating_layers(network), None):
            return []
        plain = {key for key, layer in compressible(network) if is_plain(layer)}
        pairs = [] if self.settings.format else batch_norm_pairs(network, example)
        bare = folded(network, example) if pairs else network
        wires = {key: wire for key, wire in wiring(bare, example).items() if key in plain}
        if not wires:
            who = f"{self.stage} method {self.name!r}"
            raise PruneryError(f"{who}: the network runs no Linear or Conv2d to quantize: choose another model")
        with explaining(network):
            roundings = (
                stored_roundings(wires, self.settings) if self.settings.format else roundings_of(wires, self.settings)
            )
        return [*([fold_edit(pairs)] if pairs else []), fake_quantize_edit(roundings)]


def roundings_of(wires: Mapping[str, Wire], settings: QatSettings) -> dict[str, Rounding]:
    """How each layer rounds weights and activations, from how the layers are wired."""
    from prunery.fakequant import Rounding

    keys, options = included(wires, settings.exclude), settings.model_dump(include=ROUNDING)
    sources = {key: wires[key].source if wires[key].source in keys else None for key in keys}
    return {key: Rounding(**options, rectified=wires[key].rectified, source=sources[key]) for key in keys}


def stored_roundings(keys: Iterable[str], settings: QatSettings) -> dict[str, WeightRounding]:
    """How each layer rounds its weight alone; layers in fp32 do not."""
    from prunery.fakequant import WeightRounding

    grid = settings.model_dump(include={*GridSettings.model_fields})
    formats = layer_formats(keys, settings, settings.format or "fp32").items()
    return {
        key: WeightRounding(format_, **(grid if is_integer(format_) else {}))
        for key, format_ in formats
        if format_ != "fp32"
    }
