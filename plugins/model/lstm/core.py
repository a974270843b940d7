"""An LSTM made of plain linear layers, so that pruning and quantization reach its weights.

The map of the inputs runs over the whole sequence at once; only the recurrent map is in the loop over time.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn


class TextReader(nn.Module):
    """Token ids to vectors, and which of them are no padding (id 0)."""

    def __init__(self, vocabulary: int, width: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, width)

    def forward(self, tokens: Int[Tensor, "batch length"]) -> tuple[Tensor, Tensor]:
        """Vectors `[B, L, width]` and what is real `[B, L]`."""
        return self.embedding(tokens), tokens != 0


class RowReader(nn.Module):
    """An image's rows from top to bottom as vectors; none is padding."""

    def forward(self, images: Float[Tensor, "batch channels height width"]) -> tuple[Tensor, Tensor]:
        """Vectors `[B, H, C * W]` and what is real `[B, H]`."""
        rows = images.transpose(1, 2).flatten(2)
        return rows, torch.ones_like(rows[..., 0], dtype=torch.bool)


class LstmLayer(nn.Module):
    """One LSTM layer: gates in the order input, forget, cell, output (as `torch.nn.LSTM`, its two biases summed).

    Over padding the state is carried on unchanged, so that the last state is that of the last real token.
    """

    def __init__(self, inputs: int, hidden: int, forget_bias: float) -> None:
        super().__init__()
        self.hidden = hidden
        self.input = nn.Linear(inputs, 4 * hidden)
        self.recurrent = nn.Linear(hidden, 4 * hidden, bias=False)
        bound = 1 / math.sqrt(hidden)
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -bound, bound)
        nn.init.constant_(self.input.bias[hidden : 2 * hidden], forget_bias)

    def forward(
        self, sequence: Float[Tensor, "batch length inputs"], real: Bool[Tensor, "batch length"]
    ) -> Float[Tensor, "batch length hidden"]:
        """The state after every step."""
        given = self.input(sequence)
        state = cell = torch.zeros_like(given[:, 0, : self.hidden])
        states = []
        for step in range(given.shape[1]):
            fresh_state, fresh_cell = self._step(given[:, step], state, cell)
            keep = real[:, step, None]
            state, cell = torch.where(keep, fresh_state, state), torch.where(keep, fresh_cell, cell)
            states.append(state)
        return torch.stack(states, dim=1)

    def _step(self, given: Tensor, state: Tensor, cell: Tensor) -> tuple[Tensor, Tensor]:
        enter, forget, candidate, leave = (given + self.recurrent(state)).chunk(4, dim=-1)
        cell = forget.sigmoid() * cell + enter.sigmoid() * candidate.tanh()
        return leave.sigmoid() * cell.tanh(), cell


class LstmClassifier(nn.Module):
    """Reader, LSTM layers, classifier on the last state."""

    def __init__(
        self, reader: nn.Module, inputs: int, hidden: int, layers: int, widths: Sequence[int], classes: int, bias: float
    ) -> None:
        super().__init__()
        self.reader = reader
        sizes = [inputs] + [hidden] * layers
        self.layers = nn.ModuleList(LstmLayer(before, after, bias) for before, after in pairwise(sizes))
        parts: list[nn.Module] = []
        for before, after in pairwise([hidden, *widths]):
            parts += [nn.Linear(before, after), nn.ReLU()]
        self.classifier = nn.Sequential(*parts, nn.Linear([hidden, *widths][-1], classes))

    def forward(self, inputs: Tensor) -> Float[Tensor, "batch classes"]:
        """Logits of texts `[B, L]` or images `[B, C, H, W]`."""
        sequence, real = self.reader(inputs)
        for layer in self.layers:
            sequence = layer(sequence, real)
        return self.classifier(sequence[:, -1])
