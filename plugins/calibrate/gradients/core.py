"""Moments of the cross-entropy's gradient, one sample or one batch at a time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
import torch.nn.functional as F
from jaxtyping import Int
from torch import Tensor, nn

from prunery.errors import PruneryError
from prunery.layers import weights

Batches = Iterable[tuple[Tensor, Int[Tensor, " batch"]]]


def gradient_moments(network: nn.Module, batches: Batches, per_sample: bool) -> dict[str, dict[str, Tensor]]:
    """Means over samples of |g| and g^2, by key of the weight; g is one sample's gradient, or its whole batch's mean.

    The network's parameters are substituted for the call, so that nothing is left on them. Weights that do not take
    part get zeros. Raises `PruneryError` naming the key if a gradient is not finite.
    """
    free = {key: weight.clone().requires_grad_() for key, weight in weights(network).items()}
    totals = {key: torch.zeros(2, *weight.shape, device=weight.device) for key, weight in free.items()}
    samples = 0
    for inputs, labels in _parts(batches, per_sample):
        found = _gradients(network, free, inputs, labels)
        for total, gradient in zip(totals.values(), found, strict=True):
            total[0] += len(labels) * gradient.abs()
            total[1] += len(labels) * gradient.square()
        samples += len(labels)
    return {key: _row(key, total / samples) for key, total in totals.items()}


def _gradients(network: nn.Module, free: dict[str, Tensor], inputs: Tensor, labels: Tensor) -> tuple[Tensor, ...]:
    recurrent = any(isinstance(layer, nn.RNNBase) for layer in network.modules())
    with torch.backends.cudnn.flags(enabled=not recurrent):  # cuDNN refuses gradients of these in evaluation mode
        loss = F.cross_entropy(torch.func.functional_call(network, free, (inputs,)), labels)
        return torch.autograd.grad(loss, list(free.values()), materialize_grads=True)


def _parts(batches: Batches, per_sample: bool) -> Iterator[tuple[Tensor, Tensor]]:
    for inputs, labels in batches:
        if per_sample:
            yield from zip(inputs.split(1), labels.split(1), strict=True)
        else:
            yield inputs, labels


def _row(key: str, means: Tensor) -> dict[str, Tensor]:
    if not bool(means.isfinite().all()):
        raise PruneryError(f"the gradient of {key} is not finite: train the network again with a lower learning rate")
    return {"gradient_mean_abs": means[0], "fisher": means[1]}
