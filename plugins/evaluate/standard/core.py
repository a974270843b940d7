"""Figures of one network over (inputs, labels)."""

from __future__ import annotations

from collections.abc import Iterable

import torch.nn.functional as F
from torch import Tensor, nn


def figures(network: nn.Module, dense: nn.Module, batches: Iterable[tuple[Tensor, Tensor]]) -> dict[str, float]:
    """Accuracy, mean cross-entropy, agreement of the predicted classes with those of `dense`, number of samples.

    Losses are summed in double precision, so that the size of the batches does not show.
    """
    right = agreed = samples = 0
    loss = 0.0
    for inputs, labels in batches:
        logits = network(inputs)
        predicted = logits.argmax(dim=-1)
        expected = predicted if dense is network else dense(inputs).argmax(dim=-1)
        right += int((predicted == labels).sum())
        agreed += int((predicted == expected).sum())
        loss += float(F.cross_entropy(logits.double(), labels, reduction="sum"))
        samples += len(labels)
    return {"accuracy": right / samples, "loss": loss / samples, "agreement": agreed / samples, "samples": samples}
