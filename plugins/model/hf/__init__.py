"""Text classifiers of the transformers library, from a hub, a local folder or a config."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, final

from pydantic import Field, model_validator

from prunery import Architecture, PruneryError, Settings, hookimpl

if TYPE_CHECKING:
    from torch import nn

    from prunery.data import Spec


SMALL_BERT = {
    "model_type": "bert",
    "hidden_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 512,
}
"""What is built when nothing is asked for."""


class HfSettings(Settings):
    """Settings of a transformers network. Keys of `config` win over those of `name`; without either, a small BERT."""

    argument = "name"

    name: str | None = Field(None, min_length=1, description="a hub's name, or a local folder with config.json")
    revision: str | None = Field(None, description="branch, tag or commit of the hub's repository; null: its default")
    config: dict[str, Any] = Field(
        {},
        description="fields of the config class, with model_type unless name gives it; what is absent has its default",
    )
    pretrained: bool = Field(
        False, description="take the values that name holds (safetensors only); the classifier is fresh"
    )
    dropout: float | None = Field(
        None, ge=0, lt=1, description="every dropout not set in config; null: 0, or the published ones if pretrained"
    )
    attention: Literal["sdpa", "eager"] = Field("sdpa", description="implementation of attention")

    @model_validator(mode="after")
    def _complete(self) -> HfSettings:
        if self.name is None and self.config and "model_type" not in self.config:
            raise ValueError("give name (a hub's name or a folder), or config with model_type (such as bert)")
        if self.name is None and self.pretrained:
            raise ValueError("pretrained wants name: a hub's name or a local folder")
        return self


@final
class Hf(Architecture):
    """A sequence classifier called with token ids alone; its state dict has transformers' own keys."""

    name = "hf"
    Settings = HfSettings
    imports = ("transformers.models.bert.modeling_bert",)
    versions = ("transformers",)

    @cached_property
    def config(self) -> dict[str, Any]:
        """The full config less what the data decide: classes, and vocabulary and positions unless given."""
        from .core import full_config

        chosen = self.settings
        return full_config(chosen, chosen.config if chosen.name or chosen.config else SMALL_BERT)

    def build(self, spec: Spec) -> nn.Module:
        """The network with its own initial values."""
        from .core import build

        return build(self.config, spec, self.settings.attention)

    def create(self, spec: Spec) -> nn.Module:
        """As built, or with the published values; tried out on two samples."""
        from prunery.architectures import try_out

        from .core import pretrained

        network = pretrained(self.settings, self.config, spec) if self.settings.pretrained else self.build(spec)
        return try_out(network, spec, f"model 'hf' {self.settings.name or self.config['model_type']}")

    def recorded(self) -> dict[str, Any]:
        """The config spelled out: neither hub nor folder is needed again."""
        return {"config": self.config, "attention": self.settings.attention}

    def files(self) -> list[Path]:
        """The config and weights in the local folder, if name is one."""
        folder = Path(self.settings.name or "")
        if self.settings.name is None or not folder.is_dir():
            return []
        if not (folder / "config.json").is_file():
            raise PruneryError(f"model 'hf', setting name: the folder {folder} holds no config.json")
        return [folder / "config.json", *(sorted(folder.glob("*.safetensors")) if self.settings.pretrained else [])]


@hookimpl
def register_methods() -> list[type]:
    """The methods of this plugin."""
    return [Hf]
