"""A recurrent network for texts, or for images read row by row."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, final

from pydantic import Field

from prunery import Architecture, Settings, hookimpl

if TYPE_CHECKING:
    from torch import nn

    from prunery.data import Spec


class LstmSettings(Settings):
    """Settings of the LSTM classifier."""

    embedding: int = Field(64, ge=1, description="width of a token's embedding (texts)")
    hidden: int = Field(64, ge=1, description="units of each LSTM layer")
    layers: int = Field(1, ge=1, description="LSTM layers, one above the other")
    classifier: tuple[Annotated[int, Field(ge=1)], ...] = Field(
        (), description="units of the hidden layers (ReLU) between the last state and the classes"
    )
    forget_bias: float = Field(1.0, description="initial bias of the forget gates; above 0 they start open")


@final
class Lstm(Architecture):
    """Embedding, unidirectional LSTM, linear layers on the state after the last token that is no padding."""

    name = "lstm"
    Settings = LstmSettings
    batched = True

    def build(self, spec: Spec) -> nn.Module:
        """The network; images enter as a sequence of rows, each row all channels side by side."""
        from .core import LstmClassifier, RowReader, TextReader

        chosen = self.settings
        reader: nn.Module
        if spec.kind == "text":
            reader, inputs = TextReader(spec.vocabulary, chosen.embedding), chosen.embedding
        else:
            reader, inputs = RowReader(), spec.shape[0] * spec.shape[2]
        return LstmClassifier(
            reader, inputs, chosen.hidden, chosen.layers, chosen.classifier, spec.classes, chosen.forget_bias
        )


@hookimpl
def register_methods() -> list[type]:
    """The methods of this plugin."""
    return [Lstm]
