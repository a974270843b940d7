"""One layer projected on its k:n patterns: which order its input channels take, and which weights stay."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import comb
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from .cells import Cells, costs, pull
from .core import best_of, drawn_patterns, exact, greedy
from .cutting import Cutting
from .ordering import grouped, importances, interleaved, polished

FEW, MANY = 70, 12_870
"""Patterns up to which trying all is as quick as the greedy search, and up to which it is worth its time once."""
ROWS = 1024
"""Rows of cells by which orders are compared while they are searched, evenly spaced; all decide in the end."""


@dataclass(frozen=True)
class Problem:
    """A layer's weight before it is projected.

    `weight`: u, what each entry would be if it stayed. `alive`: the mask that patterns are drawn to. `moments`:
    E[h h^T], those of a unit matrix if inputs were not measured; `absolute`: E|h| by input. `density`: of the layer's
    live weights over that of all layers.
    """

    weight: Float[Tensor, "out ..."]
    alive: Bool[Tensor, "out ..."]
    moments: Float[Tensor, "parts places wide wide"]
    absolute: Float[Tensor, "parts places wide"]
    density: float
    settings: Any
    generator: torch.Generator

    @property
    def cutting(self) -> Cutting:
        """How its weight is cut into cells."""
        return Cutting.of(self.weight, len(self.moments), self.settings.layout, self.settings.group)

    @property
    def dropped(self) -> int:
        """Entries that go from each cell."""
        return int(self.settings.group - self.settings.keep)

    def cells(self, order: Int[Tensor, " channels"] | None, step: int = 1) -> Cells:
        """Its cells with the channels in an order, of every `step`-th output."""
        cutting = self.cutting
        weight, alive = (_moved(each, order) for each in (self.weight, self.alive))
        columns = None if order is None else cutting.columns(order)
        values, live = (cutting.cells(each)[..., ::step].contiguous() for each in (weight, alive))
        cells = Cells(values, cutting.blocks(self.moments, columns))
        strength = self.settings.prior
        if self.settings.scale == "density":
            strength *= min(max(self.density, 0.25), 4.0)
        cells = pull(cells, live, self.dropped, strength, self.settings.scale)
        return cells.shared() if self.settings.rows == "shared" else cells

    def solve(self, cells: Cells, most: int = FEW) -> Bool[Tensor, "blocks group rows"]:
        """The entries to drop; under search auto, all patterns are tried if there are at `most` so many."""
        settings, count = self.settings, self.dropped
        if settings.search == "sampled":
            drawn = drawn_patterns(settings.group, count, settings.patterns, self.generator)
            return best_of(cells, drawn.to(cells.values.device))
        few = settings.search == "auto" and comb(settings.group, count) <= most
        return exact(cells, count) if few or settings.search == "exact" else greedy(cells, count)

    def losses(self, order: Int[Tensor, " channels"] | None, step: int = 1) -> Float[Tensor, " groups"]:
        """What the groups of inputs of an order lose, over all kernel positions."""
        cells = self.cells(order, step)
        lost = costs(cells, self.solve(cells)).sum(1)
        return lost.reshape(-1, self.cutting.full // self.settings.group).sum(0)

    def kept(self, order: Int[Tensor, " channels"] | None) -> Bool[Tensor, "out ..."]:
        """True where a weight stays, its channels in an order."""
        cutting, cells = self.cutting, self.cells(order)
        kept = ~self.solve(cells, MANY)
        return cutting.joined(kept.expand(-1, -1, cutting.outputs))

    # --- orders ------------------------------------------------------------------------------------------------------

    def order(self) -> Int[Tensor, " channels"] | None:
        """The order that the setting `permute` asks for; None: as they are.

        Grouped convolutions, and layers with a tail, stay as they are.
        """
        cutting, kind = self.cutting, self.settings.permute
        if kind == "none" or cutting.parts > 1 or self.weight.shape[1] % self.settings.group:
            return None
        interleave = interleaved(self._importances(), self.settings.group)
        if kind == "quartile":
            return interleave
        tried: list[Tensor | None] = [None, interleave]
        if cutting.wide == self.weight.shape[1]:
            tried.append(self._searched())
        losses = [float(self.losses(each).sum()) for each in tried]
        return tried[losses.index(min(losses))]

    def _searched(self) -> Int[Tensor, " channels"]:
        """An order found by the scores of single weights first, and by the objective then."""
        settings, step = self.settings, max(1, self.weight[:, 0].numel() // ROWS)
        rows = self.cutting.lines(self.weight)[0].permute(0, 2, 1)
        scores = rows.square() * self._squares()[0][:, None]
        start = grouped(
            scores.flatten(0, 1)[::step], settings.group, settings.keep, settings.sweeps, self.generator
        ).to(self.weight.device)
        return polished(start, settings.group, lambda order: self.losses(order, step), settings.rounds, self.generator)

    def _squares(self) -> Float[Tensor, "parts places wide"]:
        return self.moments.diagonal(dim1=2, dim2=3)

    def _importances(self) -> Float[Tensor, " channels"]:
        """What each input channel is worth, its statistics averaged over kernel positions."""
        channels, settings = self.weight.shape[1], self.settings
        statistics = {"square": self._squares()[0], "absolute": self.absolute[0]}
        means = {
            name: (value.T if settings.layout == "channels" else value.reshape(channels, -1)).mean(1)
            for name, value in statistics.items()
        }
        return importances(self.weight.movedim(1, -1).reshape(-1, channels), settings.importance, means)


def _moved(weight: Tensor, order: Int[Tensor, " channels"] | None) -> Tensor:
    return weight if order is None else weight.index_select(1, order)


def problem(
    weight: Float[Tensor, "out ..."],
    alive: Bool[Tensor, "out ..."],
    row: Mapping[str, Tensor] | None,
    density: float,
    settings: Any,
    generator: torch.Generator,
) -> Problem:
    """The problem of one layer; without measurements (`row` is None) every input counts alike, and by itself."""
    if row is None:
        cutting = Cutting.of(weight, 1, settings.layout, settings.group)
        moments = torch.eye(cutting.wide, device=weight.device).expand(1, cutting.places, -1, -1)
        absolute = weight.new_ones(1, cutting.places, cutting.wide)
    else:
        moments, absolute = (row[name].to(weight) for name in ("input_moments", "input_mean_abs"))
    made = Problem(weight, alive, moments, absolute, density, settings, generator)
    made.cutting.blocks(moments)
    return made
