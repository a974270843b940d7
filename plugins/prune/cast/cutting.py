"""Weights cut into cells, the `group` neighbouring inputs of one output, and put together again."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from prunery.errors import PruneryError


@dataclass(frozen=True)
class Cutting:
    """How the weight of one layer is cut.

    `parts`: groups of the convolution (1: none). `places`: kernel positions that are cut each by itself. `wide`: inputs
    in a line, of which the first `wide // group * group` are cut; the others are its tail.
    """

    shape: tuple[int, ...]
    parts: int
    places: int
    wide: int
    group: int

    @classmethod
    def of(cls, weight: Float[Tensor, "out ..."], parts: int, layout: str, group: int) -> Cutting:
        """That of a weight under a layout: `channels` at each kernel position, or the flattened kernel, `im2col`."""
        places = weight[0, 0].numel() if layout == "channels" else 1
        return cls(tuple(weight.shape), parts, places, weight[0].numel() // places, group)

    @property
    def full(self) -> int:
        """Inputs of a line that are cut."""
        return self.wide // self.group * self.group

    @property
    def outputs(self) -> int:
        """Outputs of a part."""
        return self.shape[0] // self.parts

    def lines(self, weight: Float[Tensor, "out ..."]) -> Float[Tensor, "parts places wide rows"]:
        """The weight with its inputs in lines."""
        return weight.reshape(self.parts, self.outputs, self.wide, self.places).permute(0, 3, 2, 1)

    def cells(self, weight: Float[Tensor, "out ..."]) -> Float[Tensor, "blocks group rows"]:
        """The weight cut into cells, without its tail."""
        return self.lines(weight)[:, :, : self.full].reshape(-1, self.group, self.outputs)

    def blocks(
        self, moments: Float[Tensor, "parts places wide wide"], order: Int[Tensor, " wide"] | None = None
    ) -> Float[Tensor, "blocks group group"]:
        """The second moments within each group of inputs, put into an order first.

        Raises `PruneryError` if they are not those of such a layer.
        """
        wanted = (self.parts, self.places, self.wide, self.wide)
        if tuple(moments.shape) != wanted:
            raise PruneryError(
                f"its second moments are {list(moments.shape)}, wanted {list(wanted)}: give calibrate=moments the same "
                "layout, and calibrate again"
            )
        places = torch.arange(self.full) if order is None else order[: self.full]
        index = places.to(moments.device).reshape(-1, self.group)
        return moments[:, :, index[:, :, None], index[:, None, :]].reshape(-1, self.group, self.group)

    def joined(self, kept: Bool[Tensor, "blocks group rows"]) -> Bool[Tensor, "out ..."]:
        """Which weights stay, from which stay in each cell; the tail stays."""
        lines = torch.ones(self.parts, self.places, self.wide, self.outputs, dtype=torch.bool, device=kept.device)
        lines[:, :, : self.full] = kept.reshape(self.parts, self.places, self.full, self.outputs)
        return lines.permute(0, 3, 2, 1).reshape(self.shape)

    def columns(self, order: Int[Tensor, " channels"]) -> Int[Tensor, " wide"]:
        """An order of the input channels as one of the inputs in a line."""
        each = self.wide // self.shape[1]
        return (order[:, None] * each + torch.arange(each, device=order.device)).flatten()
