"""Remove whole channels, wherever the network holds something of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal, final

from pydantic import Field, model_validator

from prunery import ChannelPruner, Layer, Measured, Settings, hookimpl

if TYPE_CHECKING:
    import torch

    from prunery.coupling.structure import Kept, Structure

Share = Annotated[float, Field(ge=0, lt=1)]


class ChannelSettings(Settings):
    """How many channels go, from where, and which."""

    amount = "share"
    share: float = Field(0.5, ge=0, lt=1, description="share of `target` that goes, of the network as it is given")
    target: Literal["channels", "parameters", "macs"] = Field(
        "channels",
        description="what share is a share of: channels that can go, or parameters or multiply-accumulates "
        "of the whole network",
    )
    scope: Literal["layer", "global", "profile", "sensitivity"] = Field(
        "layer",
        description="the same share of every layer; the lowest scores of all layers; each layer's share by profile, or "
        "such that the sum of the measured losses is least",
    )
    profile: tuple[Share, ...] | dict[str, Share] | None = Field(
        None,
        description="shares of channels for scope profile: a list in the order of the groups, or a dictionary by key "
        "or pattern, where layers it does not match take share",
    )
    allocation: str = Field(
        "channels", description="variant of calibrate=sensitivity, of mode channels, that scope sensitivity reads"
    )
    score: str = Field("l2", description="which channels go: a method of the stage score")
    score_settings: dict[str, Any] = Field({}, description="settings of that method that differ from its defaults")
    aggregate: Literal["mean", "sum", "max"] = Field(
        "mean", description="how the scores of layers whose channels only go together become one"
    )
    normalize: Literal["none", "mean", "norm"] = Field(
        "mean", description="scores are divided by their mean or norm over the group, to be compared under scope global"
    )
    round_to: int = Field(
        1, ge=1, description="numbers of channels are rounded up to multiples of this, where whole units allow"
    )
    least: int = Field(
        0, ge=0, description="units that every group keeps at least; 0: one, but a share that leaves none is an error"
    )
    exclude: tuple[str, ...] = Field((), description="patterns (as in a shell) of keys whose channels stay, uncounted")
    surgery: Literal["remove", "zero"] = Field(
        "remove", description="take channels out, or hold them at zero by masks, as a control"
    )

    @model_validator(mode="after")
    def _scope_and_profile(self) -> ChannelSettings:
        if (self.scope == "profile") != (self.profile is not None):
            raise ValueError("scope: profile and the setting profile go together: give both or neither")
        if self.scope == "profile" and self.target != "channels":
            raise ValueError(f"a profile states shares of channels: target {self.target} goes with another scope")
        return self


@final
class Channels(ChannelPruner):
    """The channels of lowest score go."""

    name = "channels"
    Settings = ChannelSettings

    @property
    def zeroes(self) -> bool:
        """As the settings say."""
        return bool(self.settings.surgery == "zero")

    def uses(self) -> tuple[tuple[str, str], ...]:
        """The score."""
        return (("score", self.settings.score),)

    def needs(self) -> tuple[str, ...]:
        """What the score needs, and the layers' sensitivities if they decide."""
        own = (f"calibrate={self.settings.allocation}",) if self.settings.scope == "sensitivity" else ()
        return (*self._score().needs(), *own)

    def keep(
        self, structure: Structure, layers: Mapping[str, Layer], measured: Measured, generator: torch.Generator
    ) -> Kept:
        """See `ChannelPruner.keep`."""
        from prunery.coupling.ranking import group_scores

        from .core import chosen

        settings = self.settings
        choice = settings.exclude, settings.aggregate, settings.normalize
        scores = group_scores(structure, layers, self._score(), generator, *choice)
        return chosen(structure, scores, settings, measured.get(settings.allocation, {}))

    def _score(self) -> Any:
        return self.other("score", self.settings.score, self.settings.score_settings)


@hookimpl
def register_methods() -> list[type]:
    """The methods of this plugin."""
    return [Channels]
