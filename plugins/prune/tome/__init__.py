"""Token merging: in every block of a vision transformer, alike tokens become one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, final

from pydantic import Field

from prunery import Measured, PruneryError, Settings, hookimpl
from prunery.contract import Rewirer

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn


class TomeSettings(Settings):
    """Settings of token merging."""

    amount = "r"

    r: int = Field(8, ge=1, description="tokens merged away in each block (mean over blocks for schedule decreasing)")
    schedule: Literal["constant", "decreasing"] = Field(
        "constant", description="r in every block, or 2 r in the first and evenly fewer down to 0 in the last"
    )
    proportional: bool = Field(
        True, description="whether attention counts a token as often as it stands for an input token"
    )


@final
class Tome(Rewirer):
    """Merge the pairs of tokens whose keys are most alike, between attention and MLP."""

    name = "tome"
    Settings = TomeSettings
    conflicts = ("quantize", "prune=tome")

    def edits(
        self, network: nn.Module, example: Tensor, measured: Measured, generator: torch.Generator
    ) -> list[dict[str, Any]]:
        """One edit with the number of every block; see `Rewirer.edits`. Nothing is drawn at random."""
        from prunery.encoders import encoder_blocks
        from prunery.merging import merge_edit

        from .core import tokens_per_block

        settings = self.settings
        counts = tokens_per_block(settings.r, len(encoder_blocks(network)), settings.schedule)
        try:
            return [merge_edit(network, example, counts, settings.proportional)]
        except PruneryError as error:
            raise PruneryError(f"prune method 'tome': {error}") from error


@hookimpl
def register_methods() -> list[type]:
    """The methods of this plugin."""
    return [Tome]
