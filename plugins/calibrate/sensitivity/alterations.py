"""What can be done to one layer, level by level: weights set to zero, values stored in fewer bits, channels removed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, final

import torch
from torch import Tensor, nn

from prunery.formats import GridSettings, stored_bits
from prunery.sparsity import keep_highest
from prunery.stored import scaled
from prunery.weightonly import weight_plan

Values = dict[str, Tensor]
Figures = dict[str, Any]


class Alteration(ABC):
    """Everything that is tried on one layer; `levels` says what, each level by itself."""

    def __init__(self, key: str, layer: nn.Module, levels: Sequence[Any]) -> None:
        self.key, self.layer, self.levels = key, layer, levels
        self.weight = layer.get_parameter("weight").detach()

    @abstractmethod
    def values(self, level: int) -> Values:
        """What parameters hold at a level (its place in `levels`), by key; at the last level every key occurs."""

    def running(self) -> AbstractContextManager[Any]:
        """Where the network must run that holds these values."""
        return nullcontext()

    @abstractmethod
    def told(self, accuracies: Sequence[float], losses: Sequence[float]) -> Figures:
        """The entries of the layer's row, from the figures at each level."""


@final
class Sparser(Alteration):
    """The weights of smallest magnitude are zero; levels are shares."""

    def __init__(self, key: str, layer: nn.Module, shares: Sequence[float]) -> None:
        super().__init__(key, layer, shares)
        scores = {key: self.weight.abs()}
        self.kept = torch.zeros(self.weight.shape, dtype=torch.uint8, device=self.weight.device)
        for share in shares:  # ascending, so that each keeps part of what the last one kept
            self.kept += keep_highest(scores, share)[key]

    def values(self, level: int) -> Values:
        """The weight, thinned out."""
        return {self.key: self.weight * (self.kept > level)}

    def told(self, accuracies: Sequence[float], losses: Sequence[float]) -> Figures:
        """Curves over the shares."""
        curves = {"share": list(self.levels), "accuracy": list(accuracies), "loss": list(losses)}
        return curves | {"weights": self.weight.numel()}


@final
class Shorter(Alteration):
    """The layer is stored in a format of fewer bits; levels are formats."""

    def __init__(self, key: str, layer: nn.Module, formats: Sequence[str], grid: GridSettings) -> None:
        super().__init__(key, layer, formats)
        self.grid = grid

    def values(self, level: int) -> Values:
        """Weight and bias as the format gives them back."""
        plan, name = weight_plan(self.weight, self.levels[level], self.grid), self.key.removesuffix("weight")
        real = plan.weight.to(self.weight.dtype) if plan.scale is None else scaled(plan.weight, plan.scale)
        bias = self.layer._parameters.get("bias")
        if bias is None:
            return {self.key: real}
        return {self.key: real, f"{name}bias": bias if plan.scale is not None else bias.to(plan.weight.dtype)}

    def told(self, accuracies: Sequence[float], losses: Sequence[float]) -> Figures:
        """Figures and stored bits under each format's name."""
        bias, told = self.layer._parameters.get("bias") is not None, {}
        for format_, accuracy, loss in zip(self.levels, accuracies, losses, strict=True):
            bits = stored_bits(self.weight.shape, format_, self.grid.group, bias)
            told |= {f"accuracy_{format_}": accuracy, f"loss_{format_}": loss, f"bits_{format_}": bits}
        return told | {"weights": self.weight.numel(), "bias": bias}
