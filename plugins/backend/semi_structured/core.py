"""Compressing the layers that have the pattern, choosing kernels, and showing that they ran."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from statistics import median
from time import perf_counter
from typing import Any

import torch
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile

from prunery.halves import cast, placed, running
from prunery.layers import COMPRESSIBLE, layer_of, replace_layer
from prunery.sizes import macs_of

from .rows import by_rows, layout_of

KERNELS = {
    "cusparselt": torch.sparse.SparseSemiStructuredTensorCUSPARSELT,
    "cutlass": torch.sparse.SparseSemiStructuredTensorCUTLASS,
}
"""PyTorch's kernel libraries. Which of them runs on a GPU, and which is faster, depends on its architecture."""
OPERATORS = {
    "aten::_cslt_sparse_mm", "aten::_sparse_semi_structured_mm", "aten::_sparse_semi_structured_addmm",
    "aten::_sparse_semi_structured_linear",
}  # fmt: skip
"""What their products are called in PyTorch's profile."""
CAPABILITY = (8, 0)
TRIALS, WARMUP = 5, 2


def without_kernels() -> str | None:
    """Why no sparse kernel can run here, in one line; None if one can."""
    if not torch.cuda.is_available():
        return "there is no CUDA GPU: sparse tensor cores need one of NVIDIA, compute capability 8.0 or later"
    found = torch.cuda.get_device_capability()
    if found < CAPABILITY:
        return f"this GPU has no sparse tensor cores: compute capability {found[0]}.{found[1]}, wanted 8.0 or later"
    if working():
        return None
    reasons = "; ".join(f"{name}: {reason}" for name, reason in _tried().items())
    return f"PyTorch's sparse kernels do not run on this GPU: {reasons}"


def working() -> list[str]:
    """The kernel libraries that run here and compute rightly."""
    return [name for name, reason in _tried().items() if reason is None]


@cache
def _tried() -> dict[str, str | None]:
    """By library, why its kernels are no use here: some are not built for a GPU, and some have computed wrongly."""
    return {name: _trial(name) for name in KERNELS}


def _trial(kernel: str) -> str | None:
    generator = torch.Generator().manual_seed(0)
    alive = torch.rand(128, 32, 4, generator=generator).argsort(-1) < 2
    drawn = torch.randn(128, 128, generator=generator) * alive.flatten(1), torch.randn(64, 128, generator=generator)
    try:
        with torch.inference_mode():
            weight, rows = (values.to("cuda", torch.bfloat16) for values in drawn)
            found = torch.nn.functional.linear(rows, compressed(weight, kernel)).float()
            wanted = rows.float() @ weight.float().T
    except Exception as error:  # the libraries raise whatever they like
        return next(iter(str(error).splitlines()), type(error).__name__)
    apart = float((found - wanted).abs().max() / wanted.abs().max())
    return None if apart < 0.02 else f"wrong by {apart:.1g} of the largest value"


def compressed(matrix: Tensor, kernel: str) -> Tensor:
    """A dense matrix with two of four as the kernel library stores it. Raises `RuntimeError` if its shape is no fit."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that the interface is a prototype
        made: Tensor = KERNELS[kernel].from_dense(matrix)
    return made


class Sparse:
    """A network whose layers with two of four run on sparse kernels; call it with a batch.

    `dense` tells of every other layer why it is not among them.
    """

    def __init__(self, network: nn.Module, example: Tensor, kernel: str, threads: int) -> None:
        self.kernel, called = kernel, [key for key, count in macs_of(network, example[:1]).items() if count]
        self.network = cast(network)
        self.dense = compress(self.network, called, lambda matrix: compressed(matrix, kernel))
        self._run = running(self.network, threads)

    def __call__(self, inputs: Tensor) -> Tensor:
        """Finished logits in fp32."""
        return self._run(inputs)

    def sparse_share(self, example: Tensor) -> float:
        """Share of the products with a weight that ran on sparse kernels, in a call that is profiled."""
        calls: list[nn.Module] = []
        left = [layer for layer in self.network.modules() if isinstance(layer, COMPRESSIBLE)]
        hooks = [layer.register_forward_hook(lambda layer, given, out: calls.append(layer)) for layer in left]
        try:
            with profile(activities=[ProfilerActivity.CPU]) as profiled:
                self(example)
        finally:
            for hook in hooks:
                hook.remove()
        return share_of({event.key: event.count for event in profiled.key_averages()}, len(calls))


def compress(network: nn.Module, keys: Iterable[str], convert: Callable[[Tensor], Tensor]) -> dict[str, str]:
    """Put a product of rows with `convert(matrix)` in the place of every layer with two of four, in place.

    `keys` are the weights of layers that run as modules: others are read without being called. Returns, by key, why a
    layer stays as it is: it has no pattern, or a shape that `convert` refuses.
    """
    refused = {}
    for key in keys:
        layer = layer_of(network, key)
        try:
            made = by_rows(layer, layout_of(layer), convert)
        except (ValueError, RuntimeError) as error:
            refused[key] = next(iter(str(error).splitlines()), type(error).__name__)
        else:
            replace_layer(network, layer, made)
    return refused


def share_of(events: Mapping[str, int], dense: int) -> float:
    """The share, from how often each operator ran and how many dense layers were called."""
    sparse = sum(count for name, count in events.items() if name in OPERATORS)
    return sparse / (sparse + dense) if sparse + dense else 0.0


def fastest(network: nn.Module, example: Tensor, threads: int) -> Sparse:
    """The network on whichever kernel library runs it faster, by the median of a few calls."""
    runs = [Sparse(network, example, kernel, threads) for kernel in working()]
    inputs = placed(example)
    return min(runs, key=lambda run: seconds(lambda: run(inputs))) if len(runs) > 1 else runs[0]


def seconds(call: Callable[[], Any]) -> float:
    """Median time of a few calls that answer once their work is done."""
    found = []
    for _ in range(WARMUP + TRIALS):
        start = perf_counter()
        call()
        found.append(perf_counter() - start)
    return median(found[WARMUP:])
