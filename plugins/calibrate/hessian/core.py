"""Hutchinson's estimator: the mean of v^T H v over random sign vectors v is the trace of H."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager, ExitStack

import torch
import torch.nn.functional as F
from jaxtyping import Int
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from prunery.errors import PruneryError
from prunery.layers import weights

Batches = Iterable[tuple[Tensor, Int[Tensor, " batch"]]]
Vectors = dict[str, Tensor]


def hessian_traces(network: nn.Module, batches: Batches, probes: int, seed: int) -> dict[str, dict[str, Tensor]]:
    """Trace of the Hessian of the mean cross-entropy (nats) in each compressible weight, in evaluation mode.

    `trace_error` is the standard error over the probes. Weights that do not take part get zeros. Parameters are
    substituted for the call, so that nothing is left on the network. Raises `PruneryError` naming a key whose trace is
    not finite, and if there are no batches.
    """
    free = {key: weight.clone().requires_grad_() for key, weight in weights(network).items()}
    generator = torch.Generator().manual_seed(seed)
    totals = {key: torch.zeros(probes, dtype=torch.float64) for key in free}
    samples = 0
    for inputs, labels in batches:
        draws = (signs(free, generator) for _ in range(probes))
        for key, forms in quadratic_forms(network, free, inputs, labels, draws).items():
            totals[key] += len(labels) * forms
        samples += len(labels)
    if not samples:
        raise PruneryError("calibration got no data: raise `samples`")
    return {key: _row(key, total / samples, free[key].numel()) for key, total in totals.items()}


def signs(like: Mapping[str, Tensor], generator: torch.Generator) -> Vectors:
    """A Rademacher vector over all weights: +1 or -1, each as likely. Drawn on the CPU, so that devices agree."""
    return {
        key: (torch.randint(0, 2, value.shape, generator=generator) * 2 - 1).to(value.device, value.dtype)
        for key, value in like.items()
    }


def quadratic_forms(
    network: nn.Module, free: Vectors, inputs: Tensor, labels: Tensor, draws: Iterable[Vectors]
) -> dict[str, Tensor]:
    """v_l^T (H v)_l of every layer l, one number per vector v, for the mean loss of one batch.

    One product with H serves all layers: the blocks between layers add nothing to the mean, only to its spread.
    """
    keys, found = list(free), []
    with differentiable_twice(network):
        loss = F.cross_entropy(torch.func.functional_call(network, free, (inputs,)), labels)
        gradients = torch.autograd.grad(loss, list(free.values()), create_graph=True, materialize_grads=True)
        for vectors in draws:
            products = _product(gradients, free, [vectors[key] for key in keys])
            pairs = zip(keys, products, strict=True)
            found.append([float((vectors[key] * product).sum(dtype=torch.float64)) for key, product in pairs])
    return dict(zip(keys, torch.tensor(found, dtype=torch.float64).T, strict=True))


def _product(gradients: tuple[Tensor, ...], free: Vectors, vectors: list[Tensor]) -> tuple[Tensor, ...]:
    """H v, by differentiating the gradients; zeros where the loss is linear in the weights."""
    live = [(gradient, vector) for gradient, vector in zip(gradients, vectors, strict=True) if gradient.requires_grad]
    if not live:
        return tuple(torch.zeros_like(weight) for weight in free.values())
    outputs, along = zip(*live, strict=True)
    return torch.autograd.grad(outputs, list(free.values()), along, retain_graph=True, materialize_grads=True)


def differentiable_twice(network: nn.Module) -> AbstractContextManager[ExitStack]:
    """While it lasts, kernels that have no second derivative are not used: fused attention, cuDNN's recurrences."""
    stack = ExitStack()
    stack.enter_context(sdpa_kernel(SDPBackend.MATH))
    if any(isinstance(layer, nn.RNNBase) for layer in network.modules()):
        stack.enter_context(torch.backends.cudnn.flags(enabled=False))
    return stack


def _row(key: str, forms: Tensor, count: int) -> dict[str, Tensor]:
    if not bool(forms.isfinite().all()):
        raise PruneryError(f"the Hessian of {key} is not finite: train the network again with a lower learning rate")
    trace, error = forms.mean(), forms.std() / math.sqrt(len(forms))
    row = {"trace": trace, "trace_error": error, "trace_per_weight": trace / count}
    return {name: value.float() for name, value in row.items()}
