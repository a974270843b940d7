"""CAST: weights projected on k:n patterns by what a layer's output would lose, its input channels reordered first."""

from __future__ import annotations

import logging
from math import comb
from typing import TYPE_CHECKING, Literal, final

from pydantic import Field, model_validator

from prunery import Measured, Projection, Projector, PruneryError, Settings, hookimpl
from prunery.sparsity import included

if TYPE_CHECKING:
    from collections.abc import Mapping

    import torch
    from torch import Tensor

log = logging.getLogger("prunery.prune.cast")

MOST = 200_000
"""Patterns beyond which trying all is refused."""


class CastSettings(Settings):
    """Settings of the patterns, of the search for them, of what comes back, and of the channels' order."""

    keep: int = Field(2, ge=1, description="weights that stay in each group (k), at least 1 and below group")
    group: int = Field(4, ge=2, le=64, description="neighbouring inputs that form a group (n), 2 to 64")
    layout: Literal["channels", "im2col"] = Field(
        "channels",
        description="what neighbours are in a convolution: input channels at one kernel position, or entries of the "
        "flattened kernel (channel * kh * kw + position); the same for linear layers",
    )
    tail: Literal["skip", "dense"] = Field(
        "skip", description="layers whose inputs are no multiple of group: skip them, or leave only the tail dense"
    )
    search: Literal["auto", "greedy", "exact", "sampled"] = Field(
        "auto",
        description="try all patterns (exact), drop one entry at a time (greedy), or try some at random (sampled); "
        "auto: exact up to 12,870 patterns, while an order is searched greedy beyond 70",
    )
    patterns: int = Field(1024, ge=1, description="patterns that are drawn, for search sampled")
    inputs: Literal["measured", "alike"] = Field(
        "measured", description="inputs count by their second moments, or all alike, so that the largest |w| stay"
    )
    rows: Literal["each", "shared"] = Field(
        "each", description="a pattern for every output and group, or one for all outputs of a group"
    )
    restore: bool = Field(
        True, description="whether weights that were pruned earlier may return with their dense value"
    )
    prior: float = Field(
        0.5, ge=0, description="pull towards the mask that was: mean costs per differing entry (alpha); 0 for none"
    )
    scale: Literal["patterns", "energy", "density"] = Field(
        "patterns",
        description="cost that prior is counted in: a cell's mean over all patterns, u^2 E[h^2] in the mean of a "
        "group, or the first times the layer's density over the mean density (0.25 to 4)",
    )
    permute: Literal["none", "quartile", "search"] = Field(
        "none", description="order of the input channels: as it is, interleaved by importance, or searched"
    )
    importance: Literal["weight", "activation", "paper"] = Field(
        "activation", description="of a channel, for the interleave: |w|^2, |w|^2 E[h^2], or sum |w| E|h|"
    )
    sweeps: int = Field(2, ge=0, description="sweeps of the search over all groups, by scores of single weights")
    rounds: int = Field(200, ge=0, description="rounds of the search by the objective; each costs one projection")
    kernels: Literal["all", "1x1"] = Field(
        "all", description="convolutions that are pruned: all, or those of one pixel"
    )
    classifier: Literal["exclude", "include"] = Field(
        "exclude", description="whether the layer that gives the logits is pruned too"
    )
    outputs: int = Field(1, ge=1, description="layers with fewer outputs stay dense")
    unmeasured: Literal["refuse", "magnitude"] = Field(
        "refuse", description="layers whose inputs were not measured: an error, or the largest |w| stay"
    )
    calibration: str = Field("moments", description="variant of calibrate=moments with the same layout")
    exclude: tuple[str, ...] = Field((), description="patterns (as in a shell) of keys that stay dense")

    @model_validator(mode="after")
    def _possible(self) -> CastSettings:
        if self.inputs == "alike" and self.permute != "none":
            raise ValueError("inputs that count alike give no order: set permute: none")
        if self.keep >= self.group:
            raise ValueError(f"keep must be below group ({self.group}), or nothing would be pruned")
        if self.search == "exact" and comb(self.group, self.keep) > MOST:
            raise ValueError(f"{self.keep} of {self.group} has too many patterns to try: take search greedy")
        return self


@final
class Cast(Projector):
    """Keep k of every n neighbouring inputs such that the layer's output loses least on real inputs."""

    name = "cast"
    Settings = CastSettings

    @property
    def restores(self) -> bool:
        """As the setting says."""
        return bool(self.settings.restore)

    def needs(self) -> tuple[str, ...]:
        """Second moments of all inputs."""
        return (f"calibrate={self.settings.calibration}",)

    def project(
        self,
        weights: Mapping[str, Tensor],
        dense: Mapping[str, Tensor],
        measured: Measured,
        generator: torch.Generator,
    ) -> dict[str, Projection]:
        """The k of each n that matter most, channels reordered if asked for; see `Projector.project`."""
        rows = measured[self.settings.calibration]
        keys = self._eligible(weights, rows)
        live = {key: float((weights[key] != 0).float().mean()) for key in keys}
        mean = sum(live.values()) / len(live)
        found = {}
        for key in keys:
            density = live[key] / mean if mean else 1.0
            row = rows.get(key) if self.settings.inputs == "measured" else None
            found[key] = self._projection(key, weights[key], dense.get(key), row, density, generator)
        return found

    def _projection(
        self,
        key: str,
        weight: Tensor,
        dense: Tensor | None,
        row: Mapping[str, Tensor] | None,
        density: float,
        generator: torch.Generator,
    ) -> Projection:
        from .layers import problem

        alive = weight != 0
        values = weight if dense is None else weight.where(alive, dense.to(weight))
        if row is None and (self.settings.inputs, self.settings.unmeasured) == ("measured", "refuse"):
            raise PruneryError(
                f"prune method 'cast': the inputs of {key} were not measured (its layer is not run as a module, or "
                "is too wide): exclude it, or set unmeasured: magnitude"
            )
        try:
            layer = problem(values, alive, row, density, self.settings, generator)
        except PruneryError as error:
            raise PruneryError(f"prune method 'cast': {key}: {error}") from error
        order = None if row is None else layer.order()
        kept = layer.kept(order)
        if order is not None:
            values, alive = values.index_select(1, order), alive.index_select(1, order)
        mask = kept if self.restores else kept & alive
        return Projection(values.masked_fill(~mask, 0), mask, order)

    def _eligible(self, weights: Mapping[str, Tensor], rows: Mapping[str, Mapping[str, Tensor]]) -> list[str]:
        """The keys whose weights are projected, in order."""
        settings = self.settings
        keys = [
            key
            for key in included(weights, settings.exclude)
            if self._fits(weights[key])
            and not (settings.classifier == "exclude" and key in rows and bool(rows[key]["gives_logits"]))
        ]
        if not keys:
            raise PruneryError(
                f"prune method 'cast': no layer that may be pruned has inputs in groups of {settings.group}: "
                "choose a smaller group"
            )
        if skipped := sorted(set(weights) - set(keys)):
            log.debug("prune method cast leaves dense: %s", ", ".join(skipped))
        return keys

    def _fits(self, weight: Tensor) -> bool:
        """Whether a layer has groups, outputs and kernels to be pruned."""
        settings = self.settings
        inputs = weight[0].numel() if settings.layout == "im2col" else weight.shape[1]
        cut = inputs % settings.group == 0 or (settings.tail == "dense" and inputs > settings.group)
        one_pixel = weight[0, 0].numel() == 1
        return cut and len(weight) >= settings.outputs and (one_pixel or settings.kernels == "all")


@hookimpl
def register_methods() -> list[type]:
    """The methods of this plugin."""
    return [Cast]
