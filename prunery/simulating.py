"""Layers that simulate quantization while they train: what they will lose as integers, they lose already.

They compute the steps of the integer layers (`prunery.integer`) in floating point. The weight stays under its own key,
a parameter in floating point; the ranges that the grids are made of are companions: `/low` and `/high` of the weight,
`/input_low`, `/input_high`, `/output_low`, `/output_high`. They move in training mode only.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from prunery.fakequant import Rounding, activation_grid, simulated, weight_scale

LINEAR = ("in_features", "out_features")
CONV2D = ("in_channels", "out_channels", "kernel_size", "stride", "padding", "dilation", "groups", "padding_mode")
"""Arguments of the layers, beside their bias."""


class FakeQuantized(nn.Module):
    """What the simulating layers share: ranges, and what a float layer hands over (parameters and mask, not copied)."""

    rounding: Rounding

    def _take_over(self, source: nn.Module, rounding: Rounding) -> None:
        _hand_over(source, self)
        self.rounding, weight = rounding, self.get_parameter("weight")
        shapes = {"": (len(weight),) if rounding.weight_scales == "channel" else (), "output_": ()}
        if rounding.source is None:
            shapes["input_"] = ()
        for side, shape in shapes.items():
            for end, value in (("low", 1.0), ("high", 0.0)):
                empty = torch.full(shape, value, dtype=weight.dtype, device=weight.device)
                self.register_buffer(f"weight/{side}{end}", empty)

    def ranges(self) -> dict[str, Tensor]:
        """The live ranges, by what stands behind `weight/`."""
        found = ((name.partition("/")[2], value) for name, value in self._buffers.items())
        return {name: value for name, value in found if value is not None and name.endswith(("low", "high"))}

    @property
    def observed(self) -> bool:
        """Whether the layer ran in training mode."""
        ranges = self.ranges()
        return bool(ranges["output_low"] <= ranges["output_high"])

    def extra_repr(self) -> str:
        """The layer and its rounding: replicas are stacked only if they agree in both."""
        return f"{super().extra_repr()}, {self.rounding}"


class FakeQuantizedLinear(FakeQuantized, nn.Linear):
    """A `Linear` that rounds its input, weight and output."""

    def __init__(self, source: nn.Linear, rounding: Rounding) -> None:
        nn.Linear.__init__(self, **_shape(source), device="meta")
        self._take_over(source, rounding)

    def forward(self, input: Float[Tensor, "... in"]) -> Float[Tensor, "... out"]:
        """See `simulated`."""

        def product(rows: Tensor, weight: Tensor) -> Tensor:
            return F.linear(rows, weight, self.bias)

        return simulated(product, input, self.weight, self.ranges(), self.rounding, self.training)


class FakeQuantizedConv2d(FakeQuantized, nn.Conv2d):
    """A `Conv2d` that rounds its input, weight and output."""

    def __init__(self, source: nn.Conv2d, rounding: Rounding) -> None:
        nn.Conv2d.__init__(self, **_shape(source), device="meta")
        self._take_over(source, rounding)

    def forward(self, input: Float[Tensor, "batch in h w"]) -> Float[Tensor, "batch out h2 w2"]:
        """See `simulated`; other paddings than zeros come before the rounding, as in the integer layer."""
        padding: Any = self.padding
        if self.padding_mode != "zeros":
            input, padding = F.pad(input, self._reversed_padding_repeated_twice, mode=self.padding_mode), 0

        def product(images: Tensor, weight: Tensor) -> Tensor:
            return F.conv2d(images, weight, self.bias, self.stride, padding, self.dilation, self.groups)

        return simulated(product, input, self.weight, self.ranges(), self.rounding, self.training)


def _shape(layer: nn.Module) -> dict[str, Any]:
    """The arguments that make a layer like this one."""
    names = LINEAR if isinstance(layer, nn.Linear) else CONV2D
    return {"bias": layer.bias is not None, **{name: getattr(layer, name) for name in names}}


def _hand_over(source: nn.Module, layer: nn.Module) -> None:
    """Give a layer another one's parameters, mask and mode."""
    layer.weight, layer.bias = source.weight, source.bias
    layer.training = source.training
    if "weight/mask" in source._buffers:
        layer.register_buffer("weight/mask", source.get_buffer("weight/mask"))


def fake_quantized(source: nn.Module, rounding: Rounding) -> FakeQuantizedLinear | FakeQuantizedConv2d:
    """The simulating counterpart of a float layer."""
    if isinstance(source, nn.Conv2d):
        return FakeQuantizedConv2d(source, rounding)
    assert isinstance(source, nn.Linear)
    return FakeQuantizedLinear(source, rounding)


def float_layer(source: nn.Module) -> nn.Linear | nn.Conv2d:
    """The float counterpart of a simulating layer."""
    kind = nn.Linear if isinstance(source, nn.Linear) else nn.Conv2d
    layer: nn.Linear | nn.Conv2d = kind(**_shape(source), device="meta")
    _hand_over(source, layer)
    return layer


def simulating_layers(network: nn.Module) -> Iterator[tuple[str, FakeQuantized]]:
    """(key of the weight, layer) of every layer that simulates quantization."""
    for name, layer in network.named_modules():
        if isinstance(layer, FakeQuantized):
            yield f"{name}.weight", layer


def observed(network: nn.Module) -> dict[str, dict[str, Tensor]]:
    """The grids that simulating layers round to, by key of the weight; layers that never ran in training are left out.

    If none ever ran, as in a replica that diverged in its first epoch, all have the grids of an empty range.

    Each row has `weight_scale` `[out]`, and the scalars `input_scale`, `input_zero_point`, `output_scale` and
    `output_zero_point`.
    """
    simulating = dict(simulating_layers(network))
    layers = {key: layer for key, layer in simulating.items() if layer.observed} or simulating
    return {key: _row(layer, layers) for key, layer in layers.items()}


def _row(layer: FakeQuantized, layers: Mapping[str, FakeQuantized]) -> dict[str, Tensor]:
    ranges, source = layer.ranges(), layer.rounding.source
    scale = weight_scale(ranges["low"], ranges["high"], layer.rounding)
    row = {"weight_scale": scale.expand(len(layer.get_parameter("weight"))).clone()}
    sides = {"output": layer, "input": layer if source is None else layers[source]}
    for side, owner in sides.items():
        read = "input" if side == "input" and source is None else "output"
        ends = owner.ranges()[f"{read}_low"], owner.ranges()[f"{read}_high"]
        row[f"{side}_scale"], row[f"{side}_zero_point"] = activation_grid(*ends, owner.rounding)
    return row


def with_observed(measured: Mapping[str, Any], network: nn.Module) -> dict[str, Any]:
    """Measurements, and under the name `observed` the grids of a network that simulates quantization."""
    grids = observed(network)
    return {**measured, **({"observed": grids} if grids else {})}
