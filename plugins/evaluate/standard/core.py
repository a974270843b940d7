"""Figures of one network over (inputs, labels)."""

from __future__ import annotations

from collections.abc import Iterable

import torch.nn.functional as F
from torch import Tensor, nn


def figures(network: nn.Module, dense: nn.Module, batches: Iterable[tuple[Tensor, Tensor]]) -> dict[str, float]:
    """Accuracy, mean cross-entropy, agreement of the predicted classes with those of `dense`, number of samples.

    `divergence` is the mean of KL(dense || network) = sum_c p_c log(p_c / q_c), p the probabilities of `dense`. Losses
    are summed in double precision, so that the size of the batches does not show.
    """
    right = agreed = samples = 0
    loss = distance = 0.0
    for inputs, labels in batches:
        logits = network(inputs)
        reference = logits if dense is network else dense(inputs)
        predicted = logits.argmax(dim=-1)
        right += int((predicted == labels).sum())
        agreed += int((predicted == reference.argmax(dim=-1)).sum())
        expected, found = (each.double().log_softmax(-1) for each in (reference, logits))
        distance += float(F.kl_div(found, expected, reduction="sum", log_target=True))
        loss += float(F.cross_entropy(logits.double(), labels, reduction="sum"))
        samples += len(labels)
    means = {"loss": loss / samples, "divergence": distance / samples}
    return {"accuracy": right / samples, "agreement": agreed / samples, **means, "samples": samples}
