"""Accuracy and loss of a network in which one layer alone is altered, level by level."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Int
from torch import Tensor, nn

from prunery.errors import PruneryError
from prunery.folding import folded
from prunery.layers import compressible
from prunery.sparsity import included

from .alterations import Alteration, Shorter, Sparser
from .narrowing import narrowings
from .recording import Recording

log = logging.getLogger("prunery.calibrate.sensitivity")

Batches = Iterable[tuple[Tensor, Int[Tensor, " batch"]]]

TRIAL = 2
"""Samples on which reusing a recording is tried out for every layer before it is relied on."""


@dataclass
class Tally:
    """Right answers, summed cross-entropy (nats) and samples so far."""

    right: int = 0
    loss: float = 0.0
    samples: int = 0

    def add(self, logits: Tensor, labels: Tensor) -> None:
        """Count one batch."""
        self.right += int((logits.argmax(-1) == labels).sum())
        self.loss += float(F.cross_entropy(logits.double(), labels, reduction="sum"))
        self.samples += len(labels)

    @property
    def figures(self) -> tuple[float, float]:
        """Accuracy (0..1) and mean loss."""
        return self.right / self.samples, self.loss / self.samples


def sensitivities(network: nn.Module, batches: Batches, settings: Any) -> dict[str, dict[str, Tensor]]:
    """Rows by key of every layer that the mode can alter; the card lists their entries. The network is left as it was.

    Raises `PruneryError` naming layer and level if a loss is not finite, and if there are no batches.
    """
    stream = iter(batches)
    first = next(stream, None)
    if first is None:
        raise PruneryError("calibration got no data: raise `samples`")
    if settings.mode == "formats":
        network = folded(network, first[0][:1])  # as the stage `quantize` does
    altered = alterations(network, first[0], settings)
    dense, tallies = Tally(), {key: [Tally() for _ in each.levels] for key, each in altered.items()}
    with torch.no_grad():
        trial = Recording(network, first[0][:TRIAL])
        cuts = {key: _proved_cut(trial, each) for key, each in altered.items()}
        for inputs, labels in chain([first], stream):
            recording = Recording(network, inputs)
            dense.add(recording.logits, labels)
            for key, alteration in altered.items():
                for level, tally in enumerate(tallies[key]):
                    with applied(network, alteration.values(level)), alteration.running():
                        tally.add(recording.replay(cuts[key]), labels)
    return {key: _row(each, dense, tallies[key], trial.multiplications(each.layer)) for key, each in altered.items()}


def alterations(network: nn.Module, samples: Tensor, settings: Any) -> dict[str, Alteration]:
    """What is tried on each layer that is not excluded, by key of its weight. `samples` are one input or more."""
    if settings.mode == "channels":
        return narrowings(network, samples, settings)
    layers = dict(compressible(network))
    keys = included(layers, settings.exclude)
    if settings.mode == "formats":
        return {key: Shorter(key, layers[key], settings.formats, settings) for key in keys}
    return {key: Sparser(key, layers[key], settings.shares) for key in keys}


def _proved_cut(recording: Recording, alteration: Alteration) -> int:
    """Up to where the recording may be reused when this layer is altered: its first use, if that gives equal bits."""
    values = alteration.values(len(alteration.levels) - 1)
    cut = recording.first_use(values)
    with applied(recording.network, values), alteration.running():
        if cut == 0 or torch.equal(recording.replay(cut), recording.replay(0)):
            return cut
    log.debug("%s: what lies before it runs every time", alteration.key)
    return 0


@contextmanager
def applied(network: nn.Module, values: Mapping[str, Tensor]) -> Iterator[None]:
    """While it lasts, parameters and buffers hold these values; afterwards their own, bit for bit."""
    state = network.state_dict()
    before = {key: state[key].clone() for key in values}
    try:
        for key, value in values.items():
            state[key].copy_(value)
        yield
    finally:
        for key, value in before.items():
            state[key].copy_(value)


def _row(alteration: Alteration, dense: Tally, tallies: Sequence[Tally], macs: int) -> dict[str, Tensor]:
    for level, tally in zip(alteration.levels, tallies, strict=True):
        if not math.isfinite(tally.loss):
            raise PruneryError(f"the loss is not finite with {alteration.key} at {level}: leave that level out")
    accuracies, losses = zip(*(tally.figures for tally in tallies), strict=True)
    accuracy, loss = dense.figures
    facts = {"dense_accuracy": accuracy, "dense_loss": loss, "samples": dense.samples, "macs": macs}
    return {name: torch.tensor(value) for name, value in (facts | alteration.told(accuracies, losses)).items()}
