"""Semi-structured pruning: k of every n neighbouring inputs stay, the pattern that sparse tensor cores run."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Literal, final

from pydantic import Field, model_validator

from prunery import Measured, Pruner, PruneryError, Settings, hookimpl
from prunery.sparsity import included

if TYPE_CHECKING:
    from collections.abc import Mapping

    import torch
    from torch import Tensor

log = logging.getLogger("prunery.prune.nm")


class NmSettings(Settings):
    """Settings of k:n pruning."""

    keep: int = Field(2, ge=1, description="weights that stay in each group (k), at least 1 and below group")
    group: int = Field(4, ge=2, description="neighbouring inputs that form a group (n), 2 or more")
    layout: Literal["channels", "im2col"] = Field(
        "channels",
        description="what neighbours are in a convolution: input channels at one kernel position, or entries of the "
        "flattened kernel (channel * kh * kw + position); the same for linear layers",
    )
    tail: Literal["skip", "dense"] = Field(
        "skip", description="layers whose inputs are no multiple of group: skip them, or leave only the tail dense"
    )
    score: Literal["magnitude", "wanda"] = Field(
        "magnitude", description="keep the largest |w|, or the largest |w| times the root mean square of the input"
    )
    calibration: str = Field("activations", description="variant of calibrate that score wanda reads")
    exclude: tuple[str, ...] = Field((), description="patterns (as in a shell) of keys that stay dense")

    @model_validator(mode="after")
    def _keep_below_group(self) -> NmSettings:
        if self.keep >= self.group:
            raise ValueError(f"keep must be below group ({self.group}), or nothing would be pruned")
        return self


@final
class Nm(Pruner):
    """Keep the k best of every n neighbouring inputs of each output."""

    name = "nm"
    Settings = NmSettings

    def needs(self) -> tuple[str, ...]:
        """Input statistics, if the score looks at inputs."""
        return (f"calibrate={self.settings.calibration}",) if self.settings.score == "wanda" else ()

    def masks(self, weights: Mapping[str, Tensor], measured: Measured, generator: torch.Generator) -> dict[str, Tensor]:
        """The k best of each n decide, layers that do not fit are left out; see `Pruner.masks`."""
        from .core import inputs, nm_mask

        settings = self.settings
        keys = included(weights, settings.exclude)
        eligible = [key for key in keys if self._fits(inputs(weights[key], settings.layout))]
        if not eligible:
            raise PruneryError(
                f"prune method 'nm': no layer has inputs in groups of {settings.group}: choose a smaller group"
            )
        if skipped := sorted(set(weights) - set(eligible)):
            log.debug("prune method nm leaves dense: %s", ", ".join(skipped))
        scores = {key: self._scores(key, weights[key], measured) for key in eligible}
        return {key: nm_mask(score, settings.keep, settings.group, settings.layout) for key, score in scores.items()}

    def _fits(self, inputs: int) -> bool:
        """Whether a layer of so many inputs has groups to prune."""
        whole = inputs % self.settings.group == 0
        return whole or (self.settings.tail == "dense" and inputs > self.settings.group)

    def _scores(self, key: str, weight: Tensor, measured: Measured) -> Tensor:
        from .core import wanda_scores

        if self.settings.score == "magnitude":
            return weight.abs()
        return wanda_scores(weight, measured[self.settings.calibration][key]["input_second_moment"])


@hookimpl
def register_methods() -> list[type]:
    """The methods of this plugin."""
    return [Nm]
