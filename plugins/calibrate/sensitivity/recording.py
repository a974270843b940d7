"""One pass of a network kept, module by module, so that what lies before an altered layer need not run again."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves


@dataclass
class Call:
    """A module that ran. `after`: place of the first call that is no part of it; `elements`: numbers it put out.

    `output` is None where it cannot stand for running the module: it is no tensor, the module wrote to its input, or
    somebody wrote to its output later on.
    """

    module: nn.Module
    after: int = 0
    elements: int = 0
    output: Tensor | None = None
    version: int = 0


class Recording:
    """One pass of `network`, in evaluation mode. It holds the output of every module: memory grows with the batch."""

    def __init__(self, network: nn.Module, inputs: Tensor) -> None:
        self.network, self.inputs = network, inputs
        self.calls: list[Call] = []
        with _intercepted(network, self._note):
            self.logits: Tensor = network(inputs)
        for call in self.calls:
            if call.output is not None and call.output._version != call.version:
                call.output = None

    def _note(self, module: nn.Module, forward: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        call = Call(module)
        self.calls.append(call)
        given = [(value, value._version) for value in tree_leaves((args, kwargs)) if isinstance(value, Tensor)]
        output = forward(*args, **kwargs)
        call.after = len(self.calls)
        if isinstance(output, Tensor):
            call.elements = output.numel()
            if all(value._version == version for value, version in given):
                call.output, call.version = output, output._version
        return output

    def first_use(self, keys: Collection[str]) -> int:
        """The place of the first call of a module that owns one of these parameters or buffers, shared ones included.

        0 if none ran: their values may be used in any place then.
        """
        parameters = self.network.named_parameters(remove_duplicate=False)
        state = {**dict(parameters), **dict(self.network.named_buffers(remove_duplicate=False))}
        sought = {id(state[key]) for key in keys}
        for place, call in enumerate(self.calls):
            own = (*call.module._parameters.values(), *call.module._buffers.values())
            if any(id(value) in sought for value in own):
                return place
        return 0

    def replay(self, unaltered: int) -> Tensor:
        """The logits of the network as it is now, if nothing that ran before the call `unaltered` has changed.

        Modules that ended before it hand out what they put out then, so only what lies behind is computed.
        """
        place = 0

        def skip(module: nn.Module, forward: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
            nonlocal place
            if place < unaltered:
                call = self.calls[place]
                if call.module is module and call.output is not None and call.after <= unaltered:
                    place = call.after
                    return call.output
                place = place + 1 if call.module is module else unaltered  # it runs in another way: nothing is reused
            return forward(*args, **kwargs)

        if not unaltered:
            logits: Tensor = self.network(self.inputs)
            return logits
        with _intercepted(self.network, skip):
            return self.network(self.inputs)

    def multiplications(self, layer: nn.Module) -> int:
        """Multiply-accumulates of one sample in a `Linear` or `Conv2d`, over all its calls; 0 if it did not run."""
        outputs = sum(call.elements for call in self.calls if call.module is layer)
        return outputs // len(self.inputs) * layer.get_parameter("weight")[0].numel()


@contextmanager
def _intercepted(network: nn.Module, around: Callable[..., Any]) -> Iterator[None]:
    """While it lasts, `around(module, forward, ...)` runs in the place of every module's forward."""
    before = {module: module.__dict__.get("forward") for module in network.modules()}
    for module in before:
        module.forward = partial(around, module, module.forward)
    try:
        with torch.no_grad():
            yield
    finally:
        for module, own in before.items():
            del module.forward
            if own is not None:
                module.forward = own
