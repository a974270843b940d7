"""The line that one layer's outputs run along while weights are taken away from it, and what the logits do meanwhile.

With A the layer's weight, R what is taken away and x the layer's input, the output at theta is (A - (1 - theta) R) x +
bias: theta 1 is the layer as it was, theta 0 what is left. The rest of the network is frozen.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.func import functional_call

TOLERANCE = 1e-9
"""Relative difference, in double precision, up to which two ways to compute an output agree."""


@dataclass(frozen=True)
class Segment:
    """A block of samples on their lines: `end` is the layer's output at theta 1, `step` is R x, both `[samples, ...]`.

    `received` is the layer's input. Rows are pairs of a sample and a theta; `batch` of them run at a time.
    """

    network: nn.Module
    layer: nn.Module
    inputs: Tensor
    received: Tensor
    end: Tensor
    step: Tensor
    batch: int

    def run(
        self,
        samples: Int[Tensor, " rows"],
        thetas: Float[Tensor, " rows"],
        begin: Callable[[], None] = lambda: None,
    ) -> Float[Tensor, "rows classes"]:
        """Logits of all rows in one pass; `begin` is called once the layer's output has been put in place."""

        def moved(layer: nn.Module, received: Any, output: Tensor) -> Tensor:
            end, step = (value.unflatten(0, (len(self.inputs), -1))[samples] for value in (self.end, self.step))
            away = (1 - thetas).reshape(-1, *[1] * (end.dim() - 1))
            found = (end - away * step).flatten(0, 1)
            begin()
            return found

        handle = self.layer.register_forward_hook(moved)
        try:
            logits: Tensor = self.network(self.inputs[samples])
        finally:
            handle.remove()
        return logits

    def logits(self, thetas: Float[Tensor, " points"]) -> Float[Tensor, "points samples classes"]:
        """Logits of every sample at each theta."""
        count = len(self.inputs)
        samples = torch.arange(count, device=thetas.device).repeat(len(thetas))
        rows = zip(samples.split(self.batch), thetas.repeat_interleave(count).split(self.batch), strict=True)
        return torch.cat([self.run(*part) for part in rows]).unflatten(0, (len(thetas), count))

    def slope(self, labels: Int[Tensor, " samples"]) -> Float[Tensor, " samples"]:
        """The derivative of each sample's cross-entropy by theta, at theta 1."""
        every = torch.arange(len(labels), device=labels.device)
        found = []
        for samples in every.split(self.batch):
            with torch.enable_grad():
                thetas = torch.ones(len(samples), dtype=self.end.dtype, device=labels.device, requires_grad=True)
                loss = F.cross_entropy(self.run(samples, thetas), labels[samples], reduction="sum")
                found.append(torch.autograd.grad(loss, thetas)[0])
        return torch.cat(found)

    def sampled_reach(self, secants: int) -> Float[Tensor, " samples"]:
        """A lower bound of the logits' largest speed by theta (largest absolute logit): that of equal secants."""
        thetas = torch.linspace(0, 1, secants + 1, dtype=self.end.dtype, device=self.end.device)
        return secants * self.logits(thetas).diff(dim=0).abs().amax(dim=(0, 2))


def segments(
    network: nn.Module, layer: nn.Module, inputs: Tensor, removed: Float[Tensor, "out ..."], batch: int
) -> Iterator[Segment | None]:
    """The samples in blocks of `batch`; None for a block in which the layer runs along no such line.

    That is a layer that runs more than once or not as a module, one whose output is not affine in its weight, or
    whose first axis does not go sample by sample.
    """
    for block in inputs.split(batch):
        calls: list[tuple[Tensor, Tensor]] = []
        handle = layer.register_forward_hook(_noting(calls), with_kwargs=True)
        try:
            logits = network(block)
        finally:
            handle.remove()
        if len(calls) != 1 or len(calls[0][1]) % len(block):
            yield None
            continue
        received, end = calls[0]
        found = Segment(network, layer, block, received, end, through(layer, received, removed), batch)
        yield found if _is_affine(found, removed) and _goes_by_sample(found, logits) else None


def _noting(calls: list[tuple[Tensor, Tensor]]) -> Any:
    def note(layer: nn.Module, args: tuple[Tensor, ...], kwargs: dict[str, Tensor], output: Tensor) -> None:
        received = args[0] if args else kwargs["input"]
        calls.append((received.detach().clone(), output.detach().clone()))  # what follows may write to them

    return note


def through(layer: nn.Module, received: Tensor, weight: Float[Tensor, "out ..."]) -> Tensor:
    """What the layer would put out with another weight and no bias."""
    values = {"weight": weight}
    if layer.bias is not None:
        values["bias"] = torch.zeros_like(layer.get_parameter("bias"))
    output: Tensor = functional_call(layer, values, (received,))
    return output


def _is_affine(segment: Segment, removed: Tensor) -> bool:
    """Whether taking weights away takes their share of the output away."""
    left = functional_call(
        segment.layer, {"weight": segment.layer.get_parameter("weight") - removed}, (segment.received,)
    )
    return close(left, segment.end - segment.step, segment.end)


def _goes_by_sample(segment: Segment, logits: Tensor) -> bool:
    """Whether the layer's output can be put in place for other samples than ran: these in reverse order."""
    back = torch.arange(len(logits) - 1, -1, -1, device=logits.device)
    return close(segment.run(back, torch.ones_like(back, dtype=logits.dtype)), logits[back], logits)


def close(a: Tensor, b: Tensor, scale: Tensor) -> bool:
    """Whether two tensors are the same but for rounding, in units of the largest value of a third."""
    return bool((a - b).abs().max() <= TOLERANCE * (1 + scale.abs().max()))
