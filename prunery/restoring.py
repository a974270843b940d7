"""Spectral pruning that gives back: over-prune, train what went, restore what learned most. Imports no torch by itself.

Source: "Pruning via the Marchenko-Pastur distribution", SER (selection with restoration).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field, model_validator

from prunery.budgeting import BudgetSettings, budget
from prunery.contract import Measured, Selector
from prunery.errors import PruneryError
from prunery.selection import Selection, SelectionSettings
from prunery.sparsity import keep_highest

if TYPE_CHECKING:
    from collections.abc import Mapping

    import torch
    from torch import Tensor


class RestoringSettings(BudgetSettings, SelectionSettings):
    """Settings of the layers' weights, of over-pruning, of the training of the reservoir, and of what comes back."""

    surplus: float = Field(
        0.03, gt=0, lt=1, description="share that is pruned beyond sparsity, trained, and restored; 0 to 1"
    )
    surplus_of: Literal["all", "pruned"] = Field(
        "all", description="what surplus is a share of: all weights (s + surplus), or sparsity (s * (1 + surplus))"
    )
    rho: Literal["inverse", "weight", "one"] = Field(
        "inverse", description="what a layer's changes are multiplied by to be ranked: 1 / w, w, or 1"
    )
    restored_value: Literal["trained", "parent"] = Field(
        "trained", description="value of weights that come back: the one they learned, or the parent's"
    )

    @property
    def over_pruned(self) -> float:
        """The share of the weights in the reservoir."""
        share = self.sparsity + self.surplus * (1.0 if self.surplus_of == "all" else self.sparsity)
        return round(share, 9)  # 0.3 + 0.03 is 0.33, and counts of weights are rounded down

    @model_validator(mode="after")
    def _something_stays(self) -> RestoringSettings:
        if self.over_pruned >= 1:
            raise ValueError(f"sparsity {self.sparsity:g} and surplus {self.surplus:g} leave no weight: lower one")
        return self

    def selection(self) -> Selection:
        """The recipe that trains the reservoir."""
        return Selection(SelectionSettings(**{name: getattr(self, name) for name in SelectionSettings.model_fields}))


class Restorer(Selector):
    """Selectors that over-prune by spectrally weighed magnitude and restore by what the reservoir learns."""

    Settings: ClassVar[type[RestoringSettings]] = RestoringSettings

    @property
    def keeps_trained(self) -> bool:
        """As the setting `restored_value` says."""
        return bool(self.settings.restored_value == "trained")

    def needs(self) -> tuple[str, ...]:
        """What weighs the layers."""
        reads: tuple[str, ...] = self.settings.reads
        return reads

    def trial(self, weights: Mapping[str, Tensor], measured: Measured, generator: torch.Generator) -> dict[str, Tensor]:
        """The lowest |w| over the layers' spectral weights, up to sparsity and surplus; see `Selector.trial`."""
        return over_pruned(weights, measured, self.settings)

    def learner(self) -> Selection:
        """The recipe of the selection phase."""
        found: Selection = self.settings.selection()
        return found

    def select(
        self,
        before: Mapping[str, Tensor],
        after: Mapping[str, Tensor],
        trial: Mapping[str, Tensor],
        measured: Measured,
        generator: torch.Generator,
    ) -> dict[str, Tensor]:
        """The weights that changed most, times rho, come back until the sparsity is exact; see `Selector.select`."""
        return restored(before, after, trial, budget(before, measured, self.settings), self.settings)


def over_pruned(weights: Mapping[str, Tensor], measured: Measured, settings: RestoringSettings) -> dict[str, Tensor]:
    """True where |W| / w is among the highest, with as many left out as sparsity and surplus say, and all zeros.

    Raises `PruneryError` if more than the sparsity is zero already.
    """
    scale = budget(weights, measured, settings)
    _check(weights, scale, settings)
    kept = keep_highest({key: weights[key].abs() / scale[key] for key in scale}, settings.over_pruned)
    return {key: mask & (weights[key] != 0) for key, mask in kept.items()}


def _check(weights: Mapping[str, Tensor], keys: Mapping[str, float], settings: RestoringSettings) -> None:
    total, zeros = sum(weights[key].numel() for key in keys), sum(int((weights[key] == 0).sum()) for key in keys)
    if zeros > int(settings.sparsity * total):
        raise PruneryError(
            f"{zeros / total:.4f} of the weights are zero already, more than the sparsity {settings.sparsity:g} asked "
            "for: raise it, or drop this step"
        )


def restored(
    before: Mapping[str, Tensor],
    after: Mapping[str, Tensor],
    trial: Mapping[str, Tensor],
    scale: Mapping[str, float],
    settings: RestoringSettings,
) -> dict[str, Tensor]:
    """All that `trial` kept and the highest |after - before| * rho of the rest: exactly `int(s * total)` stay zero.

    `scale` holds the weight w of each layer. Of equal changes, those of later layers and positions come back.
    """
    scores = {}
    for key, kept in trial.items():
        rho = {"inverse": 1 / scale[key], "weight": scale[key], "one": 1.0}[settings.rho]
        scores[key] = ((after[key] - before[key]).abs() * rho).masked_fill(kept, float("inf"))
    return keep_highest(scores, settings.sparsity)
