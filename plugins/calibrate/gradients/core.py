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
    """Means over samples of |g|, g^2 and, per output channel, (sum w g)^2, by key of the weight; g is one sample's
    gradient, or its whole batch's mean. Per input channel, sum w g of each sample (or batch) by itself.

    The network's parameters are substituted for the call, so that nothing is left on them. Weights that do not take
    part get zeros. Raises `PruneryError` naming the key if a gradient is not finite.
    """
    free = {key: weight.clone().requires_grad_() for key, weight in weights(network).items()}
    totals = {key: torch.zeros(2, *weight.shape, device=weight.device) for key, weight in free.items()}
    filters = {key: torch.zeros(len(weight), device=weight.device) for key, weight in free.items()}
    columns: dict[str, list[Tensor]] = {key: [] for key in free}
    samples = 0
    for inputs, labels in _parts(batches, per_sample):
        for (key, weight), gradient in zip(free.items(), _gradients(network, free, inputs, labels), strict=True):
            totals[key][0] += len(labels) * gradient.abs()
            totals[key][1] += len(labels) * gradient.square()
            change = (weight.detach() * gradient).flatten(2).sum(2) if weight.dim() > 2 else weight.detach() * gradient
            filters[key] += len(labels) * change.sum(1).square()
            columns[key].append(change.sum(0))
        samples += len(labels)
    return {
        key: _row(key, totals[key] / samples, filters[key] / samples) | {"input_changes": torch.stack(columns[key])}
        for key in free
    }


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


def _row(key: str, means: Tensor, filters: Tensor) -> dict[str, Tensor]:
    if not bool(means.isfinite().all()):
        raise PruneryError(f"the gradient of {key} is not finite: train the network again with a lower learning rate")
    return {"gradient_mean_abs": means[0], "fisher": means[1], "filter_taylor": filters}
