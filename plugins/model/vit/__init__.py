"""A very small vision transformer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, final

from pydantic import Field, model_validator

from prunery import Architecture, Settings, hookimpl

if TYPE_CHECKING:
    from torch import nn

    from prunery.data import Spec


class VitSettings(Settings):
    """Settings of the small vision transformer."""

    dim: int = Field(16, ge=1, description="width of tokens")
    blocks: int = Field(2, ge=1, description="encoder blocks")
    heads: int | None = Field(
        None, ge=1, description="attention heads, a divisor of dim; null: 2 if dim is even, else 1"
    )
    mlp_ratio: int = Field(4, ge=1, description="hidden units of a block's MLP, in multiples of dim")
    grid: int = Field(7, ge=1, description="patches per side (fewer on images under 2 * grid pixels)")
    init: Literal["torch", "normal"] = Field(
        "torch",
        description="initial values: PyTorch's own for linear maps and uniform 0..1 for the class token, or normal",
    )
    std: float = Field(0.02, gt=0, description="standard deviation for init `normal` (biases 0)")

    @property
    def head_count(self) -> int:
        """Heads, the default worked out."""
        return self.heads or (2 if self.dim % 2 == 0 else 1)

    @model_validator(mode="after")
    def _heads_divide(self) -> VitSettings:
        if self.dim % self.head_count:
            raise ValueError(f"heads {self.head_count} does not divide dim {self.dim}")
        return self


@final
class Vit(Architecture):
    """Patches, class token, fixed positions, pre-norm encoder blocks with a map per head, class-token readout."""

    name = "vit"
    Settings = VitSettings
    batched = True

    def build(self, spec: Spec) -> nn.Module:
        """The network; images whose side the grid does not divide are shrunk inside it (bilinear)."""
        from prunery.architectures import image_shape

        from .core import VisionTransformer, initialise

        chosen = self.settings
        network = VisionTransformer(
            image_shape(spec, self.name), spec.classes, chosen.dim, chosen.blocks,
            chosen.head_count, chosen.mlp_ratio, chosen.grid,
        )  # fmt: skip
        if chosen.init == "normal":
            initialise(network, chosen.std)
        return network


@hookimpl
def register_methods() -> list[type]:
    """The methods of this plugin."""
    return [Vit]
