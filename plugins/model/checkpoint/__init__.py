"""A network from a local checkpoint: Prunery's own folder, or a state dict of another program."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

from pydantic import Field, model_validator

from prunery import Architecture, PruneryError, Settings, hookimpl

if TYPE_CHECKING:
    from torch import nn

    from prunery.data import Spec


class CheckpointSettings(Settings):
    """Settings of the import. `model` is left out for a Prunery folder, which says itself what it holds."""

    path: str = Field(
        "checkpoint",
        min_length=1,
        description="a Prunery folder (with model.json), or a .safetensors, .pt or .pth file",
    )
    seed: int | None = Field(None, ge=0, description="which replica of a Prunery folder; null: its first")
    model: str | None = Field(None, description="for a file: the model it is to be loaded into, by name")
    settings: dict[str, Any] = Field({}, description="for a file: that model's settings")
    fresh: tuple[str, ...] = Field((), description="patterns (as in a shell) of keys that keep fresh initial values")

    @model_validator(mode="after")
    def _no_nesting(self) -> CheckpointSettings:
        if self.model == "checkpoint":
            raise ValueError("model must name a family of networks, not 'checkpoint' again")
        return self


@final
class LocalCheckpoint(Architecture):
    """Wraps another model and fills it with stored values; what it makes depends on the path no longer."""

    name = "checkpoint"
    Settings = CheckpointSettings

    @cached_property
    def inner(self) -> Architecture:
        """The model that is filled."""
        from .core import configured, recorded_model

        chosen = self.settings
        if Path(chosen.path).is_dir():
            if chosen.model or chosen.settings:
                raise PruneryError(f"model 'checkpoint': {chosen.path} says what it holds: remove model and settings")
            return recorded_model(Path(chosen.path))
        if not chosen.model:
            raise PruneryError(
                f"model 'checkpoint': {chosen.path} is no folder: say under model what the file is to be loaded into"
            )
        return configured(chosen.model, chosen.settings)

    def build(self, spec: Spec) -> nn.Module:
        """The wrapped model's network."""
        return self.inner.build(spec)

    def create(self, spec: Spec) -> nn.Module:
        """The wrapped model's network with the stored values, strictly, but for `fresh`."""
        from prunery.foreign import fill

        from .core import stored_values

        network, path = self.build(spec), Path(self.settings.path)
        fill(network, stored_values(path, self.settings.seed), str(path), self.settings.fresh)
        return network

    def uses(self) -> tuple[tuple[str, str], ...]:
        """The wrapped model."""
        return (("model", self.inner.name),)

    def origin(self) -> tuple[str, dict[str, Any]]:
        """The wrapped model's: checkpoints made from this one need no path."""
        return self.inner.origin()

    def files(self) -> list[Path]:
        """The file, or the record and tensors of the folder."""
        path = Path(self.settings.path)
        if not path.exists():
            raise PruneryError(f"model 'checkpoint', setting path: there is no {path}")
        return [path] if path.is_file() else [path / "model.json", *sorted(path.glob("*.safetensors"))]


@hookimpl
def register_methods() -> list[type]:
    """The methods of this plugin."""
    return [LocalCheckpoint]
