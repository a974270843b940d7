"""The largest speed of the logits along a segment, exactly, where the rest of the network is piecewise linear.

A network of affine maps, ReLU and max pooling is linear along a line between points at which some unit changes sign, or
some window its largest entry. They are found layer by layer: as far as a layer all is linear between the points known
so far, so that two values tell where a unit crosses zero (Sotoudeh and Thakur, "Computing linear restrictions of neural
networks", NeurIPS 2019).
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.overrides import TorchFunctionMode

from .segment import Segment

AFFINE = {
    *("linear", "conv2d", "batch_norm", "avg_pool2d", "adaptive_avg_pool2d", "mean", "sum", "dropout", "dropout2d"),
    *("add", "add_", "__add__", "__radd__", "__iadd__", "sub", "sub_", "__sub__", "__isub__", "neg", "__neg__"),
    *("flatten", "unflatten", "reshape", "view", "permute", "transpose", "squeeze", "unsqueeze", "contiguous"),
    *("cat", "stack", "pad", "chunk", "split", "__getitem__", "__get__", "clone", "detach", "identity", "movedim"),
}
"""Functions, by name, that are affine in all tensors that may change along a line."""
SCALING = {"mul", "mul_", "__mul__", "__rmul__", "__imul__", "div", "div_", "__truediv__"}
"""Functions that are so if one side is a number."""
SIGNED = {"relu", "relu_", "leaky_relu", "leaky_relu_"}
"""Functions with a kink where their input changes sign."""
POOLED = {"max_pool2d"}
"""Functions with a kink where the largest entry of a window changes."""
SHORTEST = 1e-8
"""Pieces of a line, of length 1, that are not told apart: below it rounding decides."""


def exact_reach(segment: Segment, pieces: int) -> Float[Tensor, " samples"] | None:
    """The logits' largest speed by theta, over each sample's line: largest over pieces and logits, in absolute value.

    None if the network behind the layer is not known to be piecewise linear, or a line has more than `pieces`.
    """
    count = len(segment.inputs)
    samples = torch.arange(count, device=segment.end.device).repeat_interleave(2)
    thetas = torch.tensor([0.0, 1.0], dtype=segment.end.dtype, device=segment.end.device).repeat(count)
    while True:
        speeds, kinks = _walk(segment, samples, thetas)
        if kinks is None:
            return None
        if not len(kinks[0]):
            found = torch.zeros(count, dtype=thetas.dtype, device=thetas.device)
            return found.scatter_reduce(0, samples[:-1], speeds, "amax")
        samples, thetas = _merged(torch.cat([samples, kinks[0]]), torch.cat([thetas, kinks[1]]))
        if int(torch.bincount(samples).max()) > pieces + 1:
            return None


def _walk(segment: Segment, samples: Tensor, thetas: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor] | None]:
    """Speeds between neighbouring rows (0 between samples), and the kinks between them; None if it cannot be told.

    Parts overlap by a row, so that each pair of neighbours is in one of them.
    """
    speeds, found = [], []
    for start in range(0, len(samples) - 1, max(1, segment.batch - 1)):
        rows = slice(start, start + max(2, segment.batch))
        watch = _Kinks(samples[rows], thetas[rows])
        with watch:
            logits = segment.run(samples[rows], thetas[rows], watch.begin)
        if not watch.known:
            return thetas, None
        lengths = thetas[rows].diff().masked_fill(~watch.same, torch.inf)
        speeds.append(logits.diff(dim=0).abs().amax(dim=1) / lengths)
        found += watch.found
    kinks = [torch.cat(parts) for parts in zip(*found, strict=True)] or [samples[:0], thetas[:0]]
    return torch.cat(speeds), (kinks[0], kinks[1])


def _merged(samples: Tensor, thetas: Tensor) -> tuple[Tensor, Tensor]:
    """Rows in order, without those that lie closer than `SHORTEST` behind another."""
    order = torch.argsort(2.0 * samples + thetas)
    samples, thetas = samples[order], thetas[order]
    apart = (samples.diff() > 0) | (thetas.diff() >= SHORTEST)
    kept = torch.cat([apart.new_ones(1), apart])
    return samples[kept], thetas[kept]


class _Kinks(TorchFunctionMode):
    """Watches the functions behind the layer for kinks between neighbouring rows.

    `known` turns false at the first function that is not known to be affine, or to have kinks. A pair of neighbours
    takes kinks from one function, the first that has any: those of later ones are not where two values say.
    """

    def __init__(self, samples: Int[Tensor, " rows"], thetas: Float[Tensor, " rows"]) -> None:
        super().__init__()
        self.samples, self.thetas = samples, thetas
        self.same: Bool[Tensor, " pairs"] = samples.diff() == 0
        self.open = self.same.clone()
        self.active, self.known = False, True
        self.found: list[tuple[Tensor, Tensor]] = []

    def begin(self) -> None:
        """From here on, what runs depends on the row."""
        self.active = True

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Called in the place of every torch function."""
        kwargs = kwargs or {}
        if self.active and self.known:
            self._note(func, args, kwargs)
        result = func(*args, **kwargs)
        if self.active and isinstance(result, Tensor) and result.is_floating_point():
            self.known = self.known and self._admits(func.__name__, args)
        return result

    def _note(self, func: Any, args: Any, kwargs: Any) -> None:
        if func.__name__ in SIGNED and self._by_row(args):
            self._crossings(args[0].flatten(1)[:-1], args[0].flatten(1)[1:])
        elif func.__name__ in POOLED and self._by_row(args):
            largest = func(*args, **{**kwargs, "return_indices": True})[1].flatten(2)
            values = args[0].flatten(2)
            before, after = (  # by how much the entry that is the largest at one end leads the other end's
                part.gather(2, largest[:-1]) - part.gather(2, largest[1:]) for part in (values[:-1], values[1:])
            )
            self._crossings(before.flatten(1), after.flatten(1))

    def _by_row(self, args: Any) -> bool:
        self.known = bool(args) and len(args[0]) == len(self.samples)
        return self.known

    def _crossings(self, before: Float[Tensor, "pairs units"], after: Float[Tensor, "pairs units"]) -> None:
        """Note where units cross zero, but for crossings at the very ends of a pair."""
        pairs, units = torch.nonzero((before * after < 0) & self.open[:, None], as_tuple=True)
        low, high = self.thetas[pairs], self.thetas[pairs + 1]
        a, b = before[pairs, units], after[pairs, units]
        theta = low + (high - low) * (a / (a - b))
        inside = (theta - low >= SHORTEST) & (high - theta >= SHORTEST)
        self.found.append((self.samples[pairs[inside]], theta[inside]))
        self.open[pairs[inside]] = False

    @staticmethod
    def _admits(name: str, args: Any) -> bool:
        """Whether a function is affine, or has its kinks noted."""
        if name == "batch_norm":
            return len(args) > 1 and args[1] is not None  # statistics of the batch would tie rows together
        scaled = name in SCALING and not all(isinstance(value, Tensor) for value in (args * 2)[1:3])
        return scaled or name in AFFINE | SIGNED | POOLED
