"""Errors of weights and outputs, summed batch by batch in double precision."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import chain
from typing import Any

from torch import Tensor, nn

from prunery.errors import PruneryError
from prunery.folding import folded_like
from prunery.layers import compressible, quantized_layers
from prunery.wiring import rectified_layers

Batches = Iterable[tuple[Tensor, Tensor]]


@dataclass
class Error:
    """Sums over all values compared: x^2, (x - y)^2, and their number; `fits` turns false if shapes differ."""

    signal: float = 0.0
    noise: float = 0.0
    count: int = 0
    fits: bool = True

    def add(self, expected: Tensor, found: Tensor) -> None:
        """Compare values of the dense network with those that took their place."""
        if expected.shape != found.shape:
            self.fits = False
            return
        wide = expected.detach().double()
        self.signal += float(wide.square().sum())
        self.noise += float((wide - found.detach().double()).square().sum())
        self.count += wide.numel()

    @property
    def figures(self) -> dict[str, float]:
        """`mse`, and `sqnr` in dB where it is finite: neither signal nor noise is zero. Empty if nothing fits."""
        if not self.fits or not self.count:
            return {}
        found = {"mse": self.noise / self.count}
        if self.signal and self.noise:
            found["sqnr"] = 10 * math.log10(self.signal / self.noise)
        return found


def distortions(network: nn.Module, dense: nn.Module, batches: Batches, settings: Any) -> dict[str, Any]:
    """Averages over layers and, under `layers`, the figures of each, by key of its weight; see the card.

    Raises `PruneryError` if there are no batches.
    """
    stream = iter(batches)
    first = next(stream, None)
    if first is None:
        raise PruneryError("there are no samples to compare outputs on: raise `samples`")
    reference = folded_like(network, dense, first[0][:1])
    weights, outputs = (
        weight_errors(network, reference),
        output_errors(network, reference, chain([first], stream), settings),
    )
    layers: dict[str, dict[str, float]] = {}
    for kind, errors in (("weight", weights), ("output", outputs)):
        for key, error in errors.items():
            layers.setdefault(key, {}).update({f"{kind}_{name}": value for name, value in error.figures.items()})
    return {**_averages("weight", weights), **_averages("output", outputs), "layers": layers}


def weight_errors(network: nn.Module, dense: nn.Module) -> dict[str, Error]:
    """The error of each weight, as it is meant if it is stored in few bits; of layers that both networks have."""
    held: dict[str, Tensor] = {key: layer.get_parameter("weight") for key, layer in compressible(network)}
    held |= {key: layer.real_weight() for key, layer in quantized_layers(network)}
    errors = {}
    for key, layer in compressible(dense):
        errors[key] = Error(fits=key in held)
        if key in held:
            errors[key].add(layer.get_parameter("weight"), held[key])
    return errors


def output_errors(network: nn.Module, dense: nn.Module, batches: Batches, settings: Any) -> dict[str, Error]:
    """The error of each layer's output over all samples; layers that never run compare nothing."""
    stream = iter(batches)
    first = next(stream)
    rectified = rectified_layers(dense, first[0][:1]) if settings.rectified else set()
    pairs = _pairs(network, dense)
    errors = {key: Error(fits=key in pairs) for key, _ in compressible(dense)}
    compared = _Comparison(pairs, errors, rectified, settings.inputs == "dense")
    with compared:
        for inputs, _ in chain([first], stream):
            compared.run(network, dense, inputs)
    return errors


def _pairs(network: nn.Module, dense: nn.Module) -> dict[str, tuple[nn.Module, nn.Module]]:
    """(compressed layer, dense layer) by key of the weight."""
    held = dict(chain(compressible(network), quantized_layers(network)))
    return {key: (held[key], layer) for key, layer in compressible(dense) if key in held}


class _Comparison:
    """Hooks that bring the outputs of two networks together, call by call."""

    def __init__(
        self, pairs: dict[str, tuple[nn.Module, nn.Module]], errors: dict[str, Error], rectified: set[str], alone: bool
    ) -> None:
        self.pairs, self.errors, self.rectified, self.alone = pairs, errors, rectified, alone
        self.expected: dict[str, list[Tensor]] = {}
        self.handles: list[Any] = []

    def __enter__(self) -> None:
        for key, (mine, other) in self.pairs.items():
            self.handles.append(other.register_forward_hook(self._dense(key, mine)))
            if not self.alone and mine is not other:
                self.handles.append(mine.register_forward_hook(self._compressed(key)))

    def __exit__(self, *_: Any) -> None:
        for handle in self.handles:
            handle.remove()

    def run(self, network: nn.Module, dense: nn.Module, inputs: Tensor) -> None:
        """One batch: the dense network first, then, unless its activations are all that counts, the other."""
        self.expected = {key: [] for key in self.pairs}
        dense(inputs)
        if not self.alone and network is not dense:
            network(inputs)

    def _dense(self, key: str, mine: nn.Module) -> Any:
        def hook(layer: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> None:
            if mine is layer:
                self._add(key, output, output)
            elif not self.alone:
                self.expected[key].append(output.detach().clone())  # what follows may write to it
            elif (found := _answer(mine, layer, args[0])) is None:
                self.errors[key].fits = False
            else:
                self._add(key, output, found)

        return hook

    def _compressed(self, key: str) -> Any:
        def hook(layer: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> None:
            if self.expected[key]:
                self._add(key, self.expected[key].pop(0), output)

        return hook

    def _add(self, key: str, expected: Tensor, found: Tensor) -> None:
        if key in self.rectified:
            expected, found = expected.relu(), found.relu()
        self.errors[key].add(expected, found)


def _answer(mine: nn.Module, layer: nn.Module, inputs: Tensor) -> Tensor | None:
    """What the compressed layer makes of the dense layer's input; None if that has more channels than it takes."""
    shape = getattr(mine, "shape", None) or mine.get_parameter("weight").shape
    return mine(inputs) if tuple(shape[1:]) == tuple(layer.get_parameter("weight").shape[1:]) else None


def _averages(kind: str, errors: dict[str, Error]) -> dict[str, float]:
    """Means over layers. `exact`: layers without any error, which have no SQNR; `left_out`: not comparable ones."""
    rows = [error.figures for error in errors.values()]
    held, ratios = [row["mse"] for row in rows if row], [row["sqnr"] for row in rows if "sqnr" in row]
    found = {f"{kind}_mse": sum(held) / len(held)} if held else {}
    if ratios:
        found[f"{kind}_sqnr"] = sum(ratios) / len(ratios)
    counts = {"layers": len(held), "exact": sum(value == 0 for value in held), "left_out": len(rows) - len(held)}
    return found | {f"{kind}_{name}": value for name, value in counts.items()}
