"""How much accuracy and loss suffer when one layer alone is compressed."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, Any, Literal, final

from pydantic import Field, field_validator

from prunery import CalibrationSettings, Calibrator, PruneryError, hookimpl
from prunery.formats import GridSettings

if TYPE_CHECKING:
    from jaxtyping import Int
    from torch import Tensor, nn

Share = Annotated[float, Field(ge=0, lt=1)]


class SensitivitySettings(GridSettings, CalibrationSettings):
    """What is done to each layer, and on which samples its effect is measured."""

    split: Literal["train", "validation"] = Field(
        "validation", description="samples it sees; what is chosen by training samples overrates them"
    )
    samples: int = Field(1024, ge=1, description="samples of the split drawn at random (all, if there are fewer)")
    batch: int = Field(128, ge=1, description="samples at a time; every module's output is held for so many")
    mode: Literal["weights", "channels", "formats"] = Field(
        "weights", description="zero the smallest weights, remove the channels of lowest score, or store in fewer bits"
    )
    shares: tuple[Share, ...] = Field(
        (0.2, 0.4, 0.6, 0.8),
        min_length=1,
        max_length=254,
        description="shares of the layer's weights or channels, ascending, for weights and channels",
    )
    score: str = Field("l2", description="which channels go first: a method of the stage score that needs no measures")
    score_settings: dict[str, Any] = Field({}, description="settings of that method that differ from its defaults")
    formats: tuple[Literal["fp16", "bf16", "int8", "int4"], ...] = Field(
        ("fp16", "int8", "int4"), min_length=1, description="formats that are tried, for formats"
    )
    exclude: tuple[str, ...] = Field((), description="patterns (as in a shell) of keys that are left alone")

    @field_validator("shares")
    @classmethod
    def _ascending(cls, shares: tuple[float, ...]) -> tuple[float, ...]:
        if any(first >= second for first, second in pairwise(shares)):
            raise ValueError("list the shares from small to large, each once")
        return shares


@final
class Sensitivity(Calibrator):
    """Each layer alone, at each level, without fine-tuning."""

    name = "sensitivity"
    Settings = SensitivitySettings
    imports = ("torch",)
    versions = ("torch",)

    def uses(self) -> tuple[tuple[str, str], ...]:
        """The score, for channels. Raises `PruneryError` if it wants measurements: a measure cannot read another."""
        from prunery.registry import registry

        settings = self.settings
        if settings.mode != "channels":
            return ()
        if needs := registry().configured("score", settings.score, settings.score_settings).needs():
            raise PruneryError(
                f"score {settings.score!r} needs {needs[0]}, which a calibration cannot read: take l1 or l2"
            )
        return (("score", settings.score),)

    def measure(
        self, network: nn.Module, batches: Iterable[tuple[Tensor, Int[Tensor, " batch"]]]
    ) -> dict[str, dict[str, Tensor]]:
        """Curves by key; the card lists the entries."""
        from .core import sensitivities

        return sensitivities(network, batches, self.settings)


@hookimpl
def register_methods() -> list[type]:
    """Register the method."""
    return [Sensitivity]
