"""Running a module without gradients until its work is done."""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn

from prunery.network import device


def eager(network: nn.Module, threads: int) -> Callable[[Tensor], Tensor]:
    """A copy of the network on the device, in evaluation mode, held to `threads` cores."""
    torch.set_num_threads(threads)
    placed = copy.deepcopy(network).eval().to(device())

    def run(inputs: Tensor) -> Tensor:
        with torch.inference_mode():
            logits: Tensor = placed(inputs.to(device()))
        if logits.is_cuda:
            torch.cuda.synchronize()
        return logits

    return run
