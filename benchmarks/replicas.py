"""Networks trained per second: many replicas in one batched program against plain PyTorch, one network after the other.

Multi-layer perceptrons of widths 1 to 1000 and depths 1 to 4, 30 seeds each, on scikit-learn's digits with the settings
of the shape sweep: Adam at 0.001, batches of 100, cross-entropy, a pass over the validation split after each epoch. The
plain loop is as short as such a loop can be: data in memory, one fused Adam, the figures of an epoch fetched once. It
is timed on a few networks, since every network takes it equally long; compiled, its first epochs are left out. The ways
take turns; a figure is the ratio of their shortest times.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from copy import deepcopy
from time import perf_counter
from typing import Any

import torch
import torch.nn.functional as F
from common import conclude, parser
from torch import Tensor, nn

from prunery.contract import Architecture, Learner
from prunery.data import Dataset
from prunery.registry import registry
from prunery.training import fit

REPLICAS, EPOCHS, ROUNDS, TARGET = 30, 4, 3, 8.0
WIDTHS, DEPTHS = (1, 2, 3, 5, 10, 20, 30, 50, 100, 200, 500, 1000), (1, 2, 3, 4)
NARROW = 100
"""Width up to which the target of the geometric mean is meant; above it, batching may merely not be slower."""
SAMPLED = {True: 4, False: 3}
"""Networks that the plain loop is timed on, wide (over `NARROW`) or not."""
COMPILED = {(width, depth) for width in (1, 10, 100, 1000) for depth in (1, 4)}
"""Sizes that are compiled, which takes longer than all the rest."""


def plain(network: nn.Module, data: dict[str, Tensor], compiled: Callable[..., Any] | None = None) -> float:
    """Seconds to train one network as anyone would write it."""
    run: Callable[[Tensor], Tensor] = compiled or network
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3, fused=True)
    start, samples = perf_counter(), len(data["labels"])
    for _ in range(EPOCHS):
        network.train()
        loss_sum = right = torch.zeros((), device=data["labels"].device)
        order = torch.randperm(samples, device=data["labels"].device)
        for first in range(0, samples, 100):
            rows = order[first : first + 100]
            inputs, labels = data["inputs"][rows], data["labels"][rows]
            logits = run(inputs)
            loss = F.cross_entropy(logits, labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            loss_sum = loss_sum + loss.detach() * len(rows)
            right = right + (logits.detach().argmax(1) == labels).sum()
        network.eval()
        with torch.no_grad():
            held = network(data["held inputs"])
            F.cross_entropy(held, data["held labels"]).item()
            (held.argmax(1) == data["held labels"]).float().mean().item()
        loss_sum.item(), right.item()
    return perf_counter() - start


def tensors(dataset: Dataset, device: torch.device) -> dict[str, Tensor]:
    """The splits that training sees, ready for a network."""
    found = {"labels": dataset.train.labels, "held labels": dataset.validation.labels}
    found |= {"inputs": dataset.network_inputs(dataset.train.inputs)}
    found |= {"held inputs": dataset.network_inputs(dataset.validation.inputs)}
    return {name: value.to(device) for name, value in found.items()}


class Sweep:
    """The networks of one width and depth, trained in each way."""

    def __init__(self, width: int, depth: int, dataset: Dataset, device: torch.device, compile_too: bool) -> None:
        architecture = registry().configured("model", "mlp", {"width": width, "depth": depth})
        learner = registry().configured("train", "supervised", {"epochs": EPOCHS, "batch_size": 100})
        assert isinstance(architecture, Architecture)
        assert isinstance(learner, Learner)
        self.width, self.dataset, self.device, self.learner = width, dataset, device, learner
        torch.manual_seed(0)
        self.fresh = architecture.build(dataset.spec)
        self.data = tensors(dataset, device)
        self.compiled: tuple[nn.Module, Callable[..., Any]] | None = None
        if compile_too:
            network = deepcopy(self.fresh).to(device)
            self.compiled = network, torch.compile(network, dynamic=False)
            plain(*self.compiled_arguments())  # compiles: both modes, both sizes of a batch

    def compiled_arguments(self) -> tuple[nn.Module, dict[str, Tensor], Callable[..., Any]]:
        """What `plain` takes to run the compiled network."""
        assert self.compiled is not None
        return self.compiled[0], self.data, self.compiled[1]

    def batched(self) -> float:
        """Seconds per network, all replicas through the library's own training."""
        networks = {seed: deepcopy(self.fresh) for seed in range(REPLICAS)}
        start = perf_counter()
        fit(self.learner, networks, self.dataset, True, lambda _: None, device=self.device)
        return (perf_counter() - start) / REPLICAS

    def one_by_one(self) -> float:
        """Seconds per network of the plain loop."""
        count = SAMPLED[self.width > NARROW]
        return sum(plain(deepcopy(self.fresh).to(self.device), self.data) for _ in range(count)) / count

    def one_by_one_compiled(self) -> float:
        """Seconds of the compiled network in the plain loop."""
        return plain(*self.compiled_arguments())

    def measure(self) -> dict[str, float]:
        """The shortest seconds per network of a few rounds, the ways in turns."""
        ways = {"batched": self.batched, "one_by_one": self.one_by_one}
        if self.compiled is not None:
            ways["compiled"] = self.one_by_one_compiled
        times: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(ROUNDS if self.width <= NARROW else ROUNDS - 1):
            for name, way in ways.items():
                times[name].append(way())
        return {name: min(taken) for name, taken in times.items()}


def geometric_mean(values: list[float]) -> float:
    return math.exp(sum(map(math.log, values)) / len(values))


def row(width: int, depth: int, seconds: dict[str, float]) -> dict[str, float]:
    """Networks per second and ratios of one size, printed as they come."""
    found: dict[str, float] = {"width": width, "depth": depth, "networks_per_second": 1 / seconds["batched"]}
    found["ratio"] = seconds["one_by_one"] / seconds["batched"]
    told = f"width {width:4d}  depth {depth}  {found['networks_per_second']:8.2f} networks/s  {found['ratio']:5.1f}x"
    if "compiled" in seconds:
        found["compiled_ratio"] = seconds["compiled"] / seconds["batched"]
        told += f"  {found['compiled_ratio']:5.1f}x compiled"
    print(told, flush=True)
    return found


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--threads", type=int, default=2)
    options.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    options.add_argument("--compiled", action="store_true", help="compare with torch.compile too (minutes more)")
    chosen = options.parse_args()
    torch.set_num_threads(chosen.threads)
    device = torch.device(chosen.device)
    dataset = registry().configured("data", "digits", {}).load(None)  # type: ignore[attr-defined]
    Sweep(5, 1, dataset, device, False).measure()  # warm-up
    rows = []
    for width in WIDTHS:
        for depth in DEPTHS:
            compile_too = chosen.compiled and (width, depth) in COMPILED
            rows.append(row(width, depth, Sweep(width, depth, dataset, device, compile_too).measure()))
            torch.compiler.reset()
    lowest = min(rows, key=lambda found: found["ratio"])
    print(f"least: {lowest['ratio']:.2f}x at width {lowest['width']}, depth {lowest['depth']} (target: never below 1x)")
    narrow = [found for found in rows if found["width"] <= NARROW]
    figures = {"threads": chosen.threads, "device": chosen.device, "least": lowest["ratio"], "rows": rows}
    if chosen.compiled:
        figures["compiled"] = geometric_mean([found["compiled_ratio"] for found in narrow if "compiled_ratio" in found])
        print(f"against torch.compile, up to width {NARROW}: {figures['compiled']:.1f}x")
    target = 100.0 if chosen.device == "cuda" else TARGET
    conclude("replicas", geometric_mean([found["ratio"] for found in narrow]), target, figures, chosen.json)


if __name__ == "__main__":
    sys.exit(main())
