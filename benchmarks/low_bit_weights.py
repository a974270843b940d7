"""Linear layers that read int8 and int4 weights against fp32 ones, one row at a time, on each runtime.

Four layers of 4096 inputs and outputs, batch 1, where reading 256 MiB of weights is the work. Outputs are compared with
eager's on the stored weights, and the runtime's own profile must show that every product read integers, before any time
counts. Formats and fp32 take turns; a figure is the ratio of their median latencies on the same runtime.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
from common import conclude, parser
from torch import Tensor, nn

from prunery.checkpoint import Checkpoint, Origin, Replica
from prunery.data import Spec
from prunery.machine import machine
from prunery.quantize import quantize
from prunery.registry import registry
from prunery.rounds import statistics
from prunery.scratch import scratch

WIDTH, LAYERS, TARGET = 4096, 4, 3.0
BACKENDS, FORMATS = ("onnxruntime", "openvino"), ("int8", "int4")
FURTHEST = 0.05
"""Largest difference to eager's outputs, relative to the largest of them: rows are rounded to int8 by both runtimes."""


def networks(group: int | None) -> dict[str, nn.Module]:
    """The network by format of its weights."""
    torch.manual_seed(0)
    plain = nn.Sequential(*(nn.Linear(WIDTH, WIDTH) for _ in range(LAYERS))).eval()
    parent = Checkpoint(Origin("linear", {}, Spec("image", (WIDTH,), WIDTH)), {0: Replica(plain)})
    found: dict[str, nn.Module] = {"fp32": plain}
    for name in FORMATS:
        method: Any = registry().configured("quantize", "weights", {"format": name, "group": group})
        found[name] = quantize(method, parent, {})[0].network.eval()
    return found


def compared(backend: Any, run: Any, network: nn.Module, row: Tensor) -> dict[str, float]:
    """How far the outputs are from eager's, and the share of products that read integers."""
    with torch.no_grad():
        wanted = network(row)
    error = float((run(row) - wanted).abs().max() / wanted.abs().max())
    return {"error": error, "share": backend.integer_share(run, row)}


def timed(name: str, threads: int, rounds: int, group: int | None) -> dict[str, Any]:
    """Figures of one runtime by format; of a format that is not trusted, why."""
    backend: Any = registry().configured("backend", name, {})
    bencher: Any = registry().configured("bench", "latency", {"rounds": rounds, "seconds": 120})
    row, made = torch.randn(1, WIDTH, generator=torch.Generator().manual_seed(1)), networks(group)
    with scratch() as folder:
        runs, checks = {}, {}
        for format_, network in made.items():
            (folder / format_).mkdir()
            runs[format_] = backend.prepare(network, row, Path(folder / format_), threads)
            checks[format_] = compared(backend, runs[format_], network, row)
        seconds = bencher.times([lambda run=run: run(row) for run in (*runs.values(), runs["fp32"])])
    dense, *each, twin = seconds
    found = {}
    for format_, times in zip(FORMATS, each, strict=True):
        found[format_] = {**statistics(times, dense, twin, 1), **checks[format_]}
        if checks[format_]["error"] > FURTHEST or checks[format_]["share"] != 1:
            found[format_]["status"] = "not trusted"
    return found


def main() -> None:
    """Print the ratios and conclude on the best int4 one."""
    options = parser(__doc__)
    options.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    options.add_argument("--rounds", type=int, default=100)
    options.add_argument("--group", type=int, help="weights that share a scale; without it a whole channel does")
    given = options.parse_args()
    figures: dict[str, Any] = {"machine": machine(max(given.threads), ("onnxruntime", "openvino"))}
    best = -math.inf
    for threads in given.threads:
        for name in BACKENDS:
            found = timed(name, threads, given.rounds, given.group)
            figures[f"{name}, {threads} threads"] = found
            for format_, row in found.items():
                ratio, control = row["speedup"], row["control"]["ratio"]
                print(
                    f"{name}, {threads} threads, {format_} weights: {row['latency_ms']['median']:.2f} ms, fp32 "
                    f"{row['reference_latency_ms']['median']:.2f} ms, {ratio['ratio']:.2f}x "
                    f"[{ratio['low']:.2f}, {ratio['high']:.2f}], equal networks {control:.2f}x, "
                    f"outputs within {row['error']:.1%}, {row['share']:.0%} of products {row.get('status', '')}"
                )
                if format_ == "int4" and "status" not in row:
                    best = max(best, ratio["ratio"])
    conclude("low_bit_weights", best, TARGET, figures, given.json)


if __name__ == "__main__":
    main()
