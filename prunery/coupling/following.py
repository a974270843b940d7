"""The run that finds out which atoms go together."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from prunery.coupling import axes as axes  # registers its rules, as the next does
from prunery.coupling import products as products
from prunery.coupling.atoms import KEPT
from prunery.coupling.ledger import Ledger
from prunery.coupling.numbers import Use, WatchSizes, tell_numbers
from prunery.coupling.operators import Call, constant, everywhere, rule_of

OUTPUT = "its channels are the network's output"


class Follow(TorchDispatchMode):
    """Labels what every operator returns."""

    def __init__(self, ledger: Ledger) -> None:
        super().__init__()
        self.ledger = ledger

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Called in the place of every operator."""
        call = Call(func, args, kwargs or {}, func(*args, **(kwargs or {})))
        tensors = call.tensors()
        if not tensors:
            constant(self.ledger, call)
        elif any(self.ledger.label(tensor) is not None for tensor in tensors):
            rule_of(call)(self.ledger, call)
        return call.result


@torch.no_grad()
def follow(network: nn.Module, example: Tensor) -> tuple[Ledger, list[Use]]:
    """Run a copy of a network; returns what goes together in it, and which numbers its modules use as sizes."""
    network = copy.deepcopy(network).cpu().eval()
    ledger = Ledger(network)
    tell_numbers(network)
    ledger.set(example, everywhere(KEPT, example.shape))
    watch = WatchSizes(ledger)
    with plain_attention(), watch, Follow(ledger):
        result = network(example)
    for value in tree_leaves(result):
        if isinstance(value, Tensor):
            ledger.freeze(ledger.label(value), OUTPUT)
    ledger.settle()
    return ledger, watch.uses


@contextmanager
def plain_attention() -> Iterator[None]:
    """Attention by its products and its softmax, instead of kernels that do all at once."""
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
