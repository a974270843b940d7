"""Optimizers, learning-rate schedules, precision, and what happens to optimizer states when replicas leave."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.optim import SGD, Adam, AdamW, Optimizer

from prunery.replicas import Ensemble
from prunery.trainsettings import TrainingSettings


def make_optimizer(ensemble: Ensemble, settings: TrainingSettings) -> Optimizer:
    """The optimizer of an ensemble; fused kernels, so that a step costs a few calls whatever the number of tensors."""
    values = ensemble.trainable.values()
    groups = _groups(((value, _is_added(ensemble.by_replica(value).shape[1:])) for value in values), settings)
    if settings.optimizer == "sgd":
        nesterov = settings.nesterov and settings.momentum > 0
        return SGD(groups, settings.learning_rate, momentum=settings.momentum, nesterov=nesterov, fused=True)
    kind = {"adam": Adam, "adamw": AdamW}[settings.optimizer]
    return kind(groups, settings.learning_rate, fused=True)


def _is_added(shape: Sequence[int]) -> bool:
    """Whether a parameter of this shape is no weight: a bias or a norm, or a class token or table of positions, which
    have a leading axis of one in place of the samples they are added to."""
    return len(shape) <= 1 or (len(shape) == 3 and shape[0] == 1)


def add_parameters(optimizer: Optimizer, parameters: Iterable[Tensor], settings: TrainingSettings) -> None:
    """Train more parameters, of layers beside one network, by the same rules."""
    for group in _groups(((value, value.dim() <= 1) for value in parameters), settings):
        optimizer.add_param_group(group)


def _groups(values: Iterable[tuple[Tensor, bool]], settings: TrainingSettings) -> list[dict[str, Any]]:
    """Parameters, each with whether it is a vector, by their decay."""
    decayed: list[Tensor] = []
    exempt: list[Tensor] = []
    for value, vector in values:
        (exempt if vector and not settings.decay_vectors else decayed).append(value)
    groups: list[dict[str, Any]] = [
        {"params": decayed, "weight_decay": settings.weight_decay, "l1_penalty": settings.l1_penalty},
        {"params": exempt, "weight_decay": 0.0, "l1_penalty": 0.0},
    ]
    return [group for group in groups if group["params"]]


@torch.no_grad()
def add_l1_gradients(optimizer: Optimizer) -> None:
    """Add the gradient of the L1 penalty to those of the loss; a weight at zero has none."""
    for group in optimizer.param_groups:
        if group["l1_penalty"]:
            for value in group["params"]:
                if value.grad is not None:
                    value.grad.add_(value.sign(), alpha=group["l1_penalty"])


def set_rate(optimizer: Optimizer, rate: float) -> None:
    """Set the learning rate of the next step."""
    for group in optimizer.param_groups:
        group["lr"] = rate


def learning_rate(settings: TrainingSettings, step: int, steps_per_epoch: int) -> float:
    """The rate of optimizer step `step` (from 0): linear warm-up, then the schedule over the steps that remain."""
    warmup = settings.warmup_steps
    if step < warmup:
        return settings.learning_rate * (step + 1) / warmup
    remaining = max(1, settings.epochs * steps_per_epoch - warmup)
    done = (step - warmup) / remaining
    if settings.schedule in ("cosine", "linear"):
        left = 0.5 * (1 + math.cos(math.pi * done)) if settings.schedule == "cosine" else 1 - done
        return settings.learning_rate * (settings.final_rate + (1 - settings.final_rate) * left)
    if settings.schedule == "step":
        return settings.learning_rate * settings.step_factor ** (step // steps_per_epoch // settings.step_epochs)
    return settings.learning_rate


def keep_rows(optimizer: Optimizer, rows: Sequence[int]) -> None:
    """Drop the states of replicas that left; states carry the replicas on their leading axis as the parameters do."""
    for state in optimizer.state.values():
        for name, value in state.items():
            if isinstance(value, Tensor) and value.dim() > 0:
                state[name] = value[list(rows)]


def mixed_precision(precision: str, device: torch.device) -> AbstractContextManager[object]:
    """Autocast to bf16 where that is asked for and the device computes in it, else nothing."""
    if precision == "fp32" or not computes_bf16(device):
        return nullcontext()
    return torch.autocast(device.type, dtype=torch.bfloat16, cache_enabled=False)


def computes_bf16(device: torch.device) -> bool:
    """Whether a device has instructions for products in bf16."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported()
    supported: bool = torch.ops.mkldnn._is_mkldnn_bf16_supported()
    return supported
