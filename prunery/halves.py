"""Networks in bf16: where devices compute in it, and how backends run them."""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn

from prunery.network import device
from prunery.optimizing import computes_bf16


def without_bf16() -> str | None:
    """Why nothing is computed in bf16 here, in one line; None if it can be."""
    where = device()
    return None if computes_bf16(where) else f"this {where.type} does not compute in bf16: use another backend"


def placed(inputs: Tensor) -> Tensor:
    """Inputs on the device, in bf16 unless they are token ids."""
    return inputs.to(device(), torch.bfloat16) if inputs.is_floating_point() else inputs.to(device())


def cast(network: nn.Module) -> nn.Module:
    """A copy on the device, every tensor of it in bf16 that is floating point."""
    return copy.deepcopy(network).eval().to(device(), torch.bfloat16)


def running(ready: nn.Module, threads: int) -> Callable[[Tensor], Tensor]:
    """Calls of a network that was cast, held to `threads` cores; they return finished logits in fp32."""
    torch.set_num_threads(threads)

    def run(inputs: Tensor) -> Tensor:
        with torch.inference_mode():
            logits: Tensor = ready(placed(inputs)).float()
        if logits.is_cuda:
            torch.cuda.synchronize()
        return logits

    return run
