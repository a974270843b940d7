"""Training 30 replicas as one batch against training them one by one, with the same engine.

Multi-layer perceptrons of widths 1, 5, 20, 100 and depths 1, 4 on scikit-learn's digits, Adam, batches of 100 (the
protocol of the shape sweep). One by one, every replica is trained alone through the same public function. The rounds
alternate between the two ways; a figure is the ratio of their shortest times.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from pathlib import Path
from time import perf_counter

import torch
from torch import nn

from prunery.contract import Architecture, Learner
from prunery.data import Dataset
from prunery.registry import registry
from prunery.training import fit

REPLICAS, EPOCHS, ROUNDS, TARGET = 30, 4, 3, 5.0
WIDTHS, DEPTHS = (1, 5, 20, 100), (1, 4)


def seconds(learner: Learner, networks: dict[int, nn.Module], dataset: Dataset, batched: bool) -> float:
    """How long training takes, all at once or each network by a call of its own."""
    groups = [networks] if batched else [{seed: network} for seed, network in networks.items()]
    start = perf_counter()
    for group in groups:
        fit(learner, group, dataset, batched, lambda _: None, device=torch.device("cpu"))
    return perf_counter() - start


def networks_of(width: int, depth: int, dataset: Dataset) -> dict[int, nn.Module]:
    architecture = registry().configured("model", "mlp", {"width": width, "depth": depth})
    assert isinstance(architecture, Architecture)
    torch.manual_seed(0)
    return {seed: architecture.build(dataset.spec) for seed in range(REPLICAS)}


def measure(learner: Learner, dataset: Dataset, width: int, depth: int) -> dict[str, float]:
    """The shortest times of a few alternating rounds."""
    together, alone = [], []
    for _ in range(ROUNDS):
        together.append(seconds(learner, networks_of(width, depth, dataset), dataset, batched=True))
        alone.append(seconds(learner, networks_of(width, depth, dataset), dataset, batched=False))
    figures = {"width": width, "depth": depth, "batched_s": min(together), "one_by_one_s": min(alone)}
    return {**figures, "ratio": min(alone) / min(together)}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--threads", type=int, default=2)
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    source = registry().configured("data", "digits", {})
    dataset = source.load(None)  # type: ignore[attr-defined]
    learner = registry().configured("train", "supervised", {"epochs": EPOCHS, "batch_size": 100})
    assert isinstance(learner, Learner)
    measure(learner, dataset, 5, 1)  # warm-up
    figures = []
    for width in WIDTHS:
        for depth in DEPTHS:
            row = measure(learner, dataset, width, depth)
            figures.append(row)
            times = f"batched {row['batched_s']:.3f} s  one by one {row['one_by_one_s']:.3f} s"
            print(f"width {width:3d}  depth {depth}  {times}  {row['ratio']:.1f}x", flush=True)
    figure = math.exp(sum(math.log(row["ratio"]) for row in figures) / len(figures))
    holds = figure >= TARGET
    if chosen.json:
        result = {"figure": figure, "target": TARGET, "threads": chosen.threads, "rows": figures}
        chosen.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(f"replicas: {figure:.1f}x (target {TARGET:g}x) {'holds' if holds else 'falls short'}")
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main())
