"""Layers that simulate quantization while they train: what they will lose as integers, they lose already.

The weight stays under its own key, a parameter in floating point. `FakeQuantized` layers compute the steps of the
integer layers (`prunery.integer`); the ranges that their grids are made of are companions: `/low` and `/high` of the
weight, `/input_low`, `/input_high`, `/output_low`, `/output_high`, which move in training mode only. `FakeStored`
layers compute those of layers that only store their weight otherwise (`prunery.weightonly`), and have no companions.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from prunery.fakequant import (
    Rounding,
    WeightRounding,
    activation_grid,
    fake_cast,
    fake_stored,
    simulated,
    weight_scale,
)
from prunery.formats import is_integer

LINEAR = ("in_features", "out_features")
CONV2D = ("in_channels", "out_channels", "kernel_size", "stride", "padding", "dilation", "groups", "padding_mode")
"""Arguments of the layers, beside their bias."""


class Simulating(nn.Module):
    """A layer that simulates: it has what a float layer hands over (parameters and mask, not copied)."""

    rounding: Any

    def extra_repr(self) -> str:
        """The layer and its rounding: replicas are stacked only if they agree in both."""
        return f"{super().extra_repr()}, {self.rounding}"


class FakeQuantized(Simulating):
    """Layers that round inputs, weights and outputs: their ranges."""

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
        input, padding = _padded(self, input)

        def product(images: Tensor, weight: Tensor) -> Tensor:
            return F.conv2d(images, weight, self.bias, self.stride, padding, self.dilation, self.groups)

        return simulated(product, input, self.weight, self.ranges(), self.rounding, self.training)


class FakeStored(Simulating):
    """Layers that round their weight only, and their bias where it is stored in the same type."""

    rounding: WeightRounding

    def _take_over(self, source: nn.Module, rounding: WeightRounding) -> None:
        _hand_over(source, self)
        self.rounding = rounding


class FakeStoredLinear(FakeStored, nn.Linear):
    """A `Linear` that rounds its weight."""

    def __init__(self, source: nn.Linear, rounding: WeightRounding) -> None:
        nn.Linear.__init__(self, **_shape(source), device="meta")
        self._take_over(source, rounding)

    def forward(self, input: Float[Tensor, "... in"]) -> Float[Tensor, "... out"]:
        """The product with the rounded weight."""
        return F.linear(input, *_stored(self))


class FakeStoredConv2d(FakeStored, nn.Conv2d):
    """A `Conv2d` that rounds its weight."""

    def __init__(self, source: nn.Conv2d, rounding: WeightRounding) -> None:
        nn.Conv2d.__init__(self, **_shape(source), device="meta")
        self._take_over(source, rounding)

    def forward(self, input: Float[Tensor, "batch in h w"]) -> Float[Tensor, "batch out h2 w2"]:
        """The convolution with the rounded weight."""
        input, padding = _padded(self, input)
        return F.conv2d(input, *_stored(self), self.stride, padding, self.dilation, self.groups)


def _stored(
    layer: FakeStoredLinear | FakeStoredConv2d,
) -> tuple[Float[Tensor, "out ..."], Float[Tensor, " out"] | None]:
    """Weight and bias as they will be stored."""
    bias: Tensor | None = layer.bias
    if bias is not None and not is_integer(layer.rounding.format):
        bias = fake_cast(bias, layer.rounding.format)
    return fake_stored(layer.weight, layer.rounding), bias


def _padded(layer: nn.Conv2d, input: Tensor) -> tuple[Tensor, Any]:
    """A convolution's input with its margins, for paddings other than zeros, and the padding that is left to do."""
    if layer.padding_mode == "zeros":
        return input, layer.padding
    return F.pad(input, layer._reversed_padding_repeated_twice, mode=layer.padding_mode), 0


def _shape(layer: nn.Module) -> dict[str, Any]:
    """The arguments that make a layer like this one."""
    names = LINEAR if isinstance(layer, nn.Linear) else CONV2D
    return {"bias": layer.bias is not None, **{name: getattr(layer, name) for name in names}}


def _hand_over(source: nn.Module, layer: nn.Module) -> None:
    """Give a layer another one's parameters, masks and mode."""
    layer.weight, layer.bias = source.weight, source.bias
    layer.training = source.training
    for name in (name for name in source._buffers if name.endswith("/mask")):
        layer.register_buffer(name, source.get_buffer(name))


def fake_quantized(source: nn.Module, rounding: Rounding | WeightRounding) -> Simulating:
    """The simulating counterpart of a float layer."""
    convolution = isinstance(source, nn.Conv2d)
    if isinstance(rounding, WeightRounding):
        stored: Any = FakeStoredConv2d if convolution else FakeStoredLinear
        return stored(source, rounding)
    quantized: Any = FakeQuantizedConv2d if convolution else FakeQuantizedLinear
    return quantized(source, rounding)


def float_layer(source: nn.Module) -> nn.Linear | nn.Conv2d:
    """The float counterpart of a simulating layer."""
    kind = nn.Linear if isinstance(source, nn.Linear) else nn.Conv2d
    layer: nn.Linear | nn.Conv2d = kind(**_shape(source), device="meta")
    _hand_over(source, layer)
    return layer


def simulating_layers(network: nn.Module) -> Iterator[tuple[str, Simulating]]:
    """(key of the weight, layer) of every layer that simulates quantization."""
    for name, layer in network.named_modules():
        if isinstance(layer, Simulating):
            yield f"{name}.weight", layer


def observed(network: nn.Module) -> dict[str, dict[str, Any]]:
    """How simulating layers round, by key of the weight: their `rounding`, and the grids of those with ranges.

    These are `weight_scale` `[out]`, and the scalars `input_scale`, `input_zero_point`, `output_scale` and
    `output_zero_point`. Layers with ranges that never ran in training are left out; if none ever ran, as in a replica
    that diverged in its first epoch, all have the grids of an empty range.
    """
    simulating = dict(simulating_layers(network))
    ranged = {key: layer for key, layer in simulating.items() if isinstance(layer, FakeQuantized)}
    ranged = {key: layer for key, layer in ranged.items() if layer.observed} or ranged
    rows = {key: _row(layer, ranged) for key, layer in ranged.items()}
    stored = {key: {"rounding": layer.rounding} for key, layer in simulating.items() if isinstance(layer, FakeStored)}
    return {key: found for key in simulating if (found := {**rows, **stored}.get(key))}


def _row(layer: FakeQuantized, layers: Mapping[str, FakeQuantized]) -> dict[str, Any]:
    ranges, source = layer.ranges(), layer.rounding.source
    scale = weight_scale(ranges["low"], ranges["high"], layer.rounding)
    row: dict[str, Any] = {"rounding": layer.rounding}
    row["weight_scale"] = scale.expand(len(layer.get_parameter("weight"))).clone()
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
