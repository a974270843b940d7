"""Running a module in mixed precision."""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn

from prunery.network import device


def autocast(network: nn.Module, threads: int) -> Callable[[Tensor], Tensor]:
    """A copy of the network on the device whose products are computed in bf16, casts of its fp32 weights included.

    Logits are returned in fp32.
    """
    torch.set_num_threads(threads)
    ready = copy.deepcopy(network).eval().to(device())

    def run(inputs: Tensor) -> Tensor:
        # The casts are not kept from call to call: a cache lives as long as the context.
        with torch.inference_mode(), torch.autocast(device().type, dtype=torch.bfloat16):
            logits: Tensor = ready(inputs.to(device())).float()
        if logits.is_cuda:
            torch.cuda.synchronize()
        return logits

    return run
