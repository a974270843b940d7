"""Compiling a module for one shape of inputs."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable

import torch
from torch import Tensor, nn

from prunery.network import device


def compiled(network: nn.Module, example: Tensor, threads: int) -> Callable[[Tensor], Tensor]:
    """A compiled copy of the network on the device, weights folded in as constants, held to `threads` cores."""
    from torch._inductor import config

    torch.set_num_threads(threads)  # before compiling: loops are generated for so many
    placed = copy.deepcopy(network).eval().to(device())
    function = torch.compile(placed, dynamic=False)

    def run(inputs: Tensor) -> Tensor:
        with torch.no_grad():  # freezing does not take effect under inference_mode
            logits: Tensor = function(inputs.to(device()))
        if logits.is_cuda:
            torch.cuda.synchronize()
        return logits

    with config.patch(freezing=True), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # remarks of the compiler about itself
        run(example)
    return run
