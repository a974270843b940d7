"""Statistics of a layer's input and output, summed batch by batch."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from prunery.calibrate import histogram_quantile
from prunery.errors import PruneryError
from prunery.folding import folded
from prunery.layers import as_matrix, compressible
from prunery.patches import patches_of
from prunery.wiring import rectified_layers

from .histogram import StreamingHistogram
from .outliers import outlier_figures

Batches = Iterable[tuple[Tensor, Int[Tensor, " batch"]]]


def activation_statistics(network: nn.Module, batches: Batches, settings: Any) -> dict[str, dict[str, Tensor]]:
    """Statistics by key of every compressible layer that runs; the network is left as it was.

    Raises `PruneryError` naming the layer if an activation is not finite, and if there are no batches.
    """
    stream = iter(batches)
    first = next(stream, None)
    if first is None:
        raise PruneryError("calibration got no data: raise `samples`")
    network = folded(network, first[0][:1])
    rectified = rectified_layers(network, first[0][:1])
    found = {key: LayerStatistics(key, layer, settings, key in rectified) for key, layer in compressible(network)}
    layers = dict(compressible(network))
    handles = [layers[key].register_forward_hook(each.hook, with_kwargs=True) for key, each in found.items()]
    try:
        with torch.no_grad():
            for inputs, _ in chain([first], stream):
                network(inputs)
    finally:
        for handle in handles:
            handle.remove()
    return {key: each.row() for key, each in found.items() if each.positions}


class LayerStatistics:
    """Sums over all that has run through one layer. `rectified`: a ReLU follows, so outputs count after it."""

    def __init__(self, key: str, layer: nn.Module, settings: Any, rectified: bool) -> None:
        self.key, self.layer, self.settings, self.rectified = key, layer, settings, rectified
        row = as_matrix(layer.get_parameter("weight")).shape[1]
        self.grouped = row % settings.group == 0
        self.group = settings.group if self.grouped else 1
        self.moments: Tensor | float = 0.0
        self.absolute: Tensor | float = 0.0
        self.positions = 0
        self.patches = 0
        self.histograms = {side: StreamingHistogram(settings.bins) for side in ("input", "output")}
        self.before = StreamingHistogram(settings.bins) if rectified else self.histograms["output"]
        self.sums = torch.zeros(2, dtype=torch.float64)

    def hook(self, layer: nn.Module, args: tuple[Tensor, ...], kwargs: dict[str, Tensor], output: Tensor) -> None:
        """A forward hook that takes one batch in."""
        inputs = (args[0] if args else kwargs["input"]).detach().float()
        self._count("input", inputs)
        self._count("output", output.relu() if self.rectified else output)
        if self.rectified:
            self.before.add(output)
        exact = output.detach().double()
        self.sums += torch.stack([exact.sum(), exact.square().sum()]).cpu()
        channels = inputs.movedim(-3, -1) if isinstance(layer, nn.Conv2d) else inputs
        self.absolute += channels.reshape(-1, channels.shape[-1]).abs().sum(0).double().cpu()
        self.positions += channels.numel() // channels.shape[-1]
        for patches in patches_of(layer, inputs):
            self.moments += group_moments(patches, self.group).double().cpu()
            self.patches += patches.shape[0] * patches.shape[2]

    def _count(self, side: str, values: Tensor) -> None:
        try:
            self.histograms[side].add(values)
        except ValueError as error:
            raise PruneryError(
                f"the {side} of {self.key}'s layer is not finite: train the network again with a lower learning rate"
            ) from error

    def row(self) -> dict[str, Tensor]:
        """What was found; the card says what each entry is."""
        moments = torch.as_tensor(self.moments) / self.patches
        row = {
            "input_second_moment": moments.diagonal(dim1=1, dim2=2).flatten().float(),
            "input_mean_abs": (torch.as_tensor(self.absolute) / self.positions).float(),
            "output_relu": torch.tensor(self.rectified),
        }
        if self.grouped:
            row["group_second_moment"] = moments.float()
        for side, histogram in self.histograms.items():
            row |= {f"{side}_{name}": value for name, value in self._distribution(histogram).items()}
        figures = outlier_figures(self.before, *self.sums.tolist())
        return row | {f"preactivation_{name}": torch.tensor(value) for name, value in figures.items()}

    def _distribution(self, histogram: StreamingHistogram) -> dict[str, Tensor]:
        counts, edges = histogram.counts, histogram.edges
        quantiles = [histogram_quantile(counts, edges, share) for share in self.settings.quantiles]
        return {
            "min": torch.tensor(histogram.minimum),
            "max": torch.tensor(histogram.maximum),
            "histogram": counts,
            "edges": edges,
            "quantiles": torch.tensor(quantiles).clamp(histogram.minimum, histogram.maximum),
        }


def group_moments(
    patches: Float[Tensor, "batch features positions"], group: int
) -> Float[Tensor, "groups group group"]:
    """Sums over batch and positions of the outer products of each `group` of consecutive features."""
    vectors = patches.reshape(len(patches), -1, group, patches.shape[2])
    return (vectors @ vectors.mT).sum(0)
