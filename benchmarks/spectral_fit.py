"""Marchenko-Pastur fits of ViT-B/16's 50 weight matrices: ours against WeightWatcher's analysis with its own fit.

Both read the same torch modules in this process, on two threads, the whole network at a time, in turns; the medians of
the rounds are compared. The matrices are Gaussian noise with planted spikes (1.5, 2, 3 and 8 times the strength at
which a spike leaves the bulk), so that the answers are known: the bulk edge sigma (sqrt(rows) + sqrt(columns)), and
four spikes each.
"""

from __future__ import annotations

import contextlib
import io
import time
import warnings
from collections.abc import Callable
from statistics import median
from typing import Any

import torch
from common import conclude, parser
from torch import nn

THREADS, TARGET, BLOCKS, ROUNDS = 2, 30.0, 12, 3
SIGMA, STRENGTHS = 0.02, (1.5, 2.0, 3.0, 8.0)
BLOCK = {"qkv": (2304, 768), "proj": (768, 768), "fc1": (3072, 768), "fc2": (768, 3072)}
ENDS = {"patch": (768, 768), "head": (1000, 768)}


def planted(rows: int, columns: int, generator: torch.Generator) -> nn.Linear:
    """A layer whose weight is noise of standard deviation SIGMA plus orthogonal spikes."""
    count = len(STRENGTHS)
    left, right = (torch.linalg.qr(torch.randn(n, count, generator=generator)).Q for n in (rows, columns))
    spikes = SIGMA * (rows * columns) ** 0.25 * torch.tensor(STRENGTHS)
    layer = nn.Linear(columns, rows, bias=False)
    layer.weight.data = SIGMA * torch.randn(rows, columns, generator=generator) + (left * spikes) @ right.T
    return layer


def module(shapes: dict[str, tuple[int, int]], seed: int) -> nn.ModuleDict:
    generator = torch.Generator().manual_seed(seed)
    return nn.ModuleDict({name: planted(*shape, generator) for name, shape in shapes.items()})


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    start = time.perf_counter()
    found = work()
    return time.perf_counter() - start, found


def ours(network: nn.Module) -> dict[str, dict[str, Any]]:
    from prunery.registry import registry
    from prunery.spectral_fit import fit_network

    method: Any = registry().configured("spectral_fit", "mp", {})
    return fit_network(method, network)


def theirs(network: nn.Module) -> Any:
    """WeightWatcher's table of layers; what it prints and warns of is dropped."""
    with (
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        import weightwatcher

        return weightwatcher.WeightWatcher(model=network).analyze(mp_fit=True, plot=False)


def edge_errors(network: nn.Module, rows: dict[str, dict[str, Any]]) -> list[float]:
    """Relative errors of sigma_plus against the known edge."""
    true = {key: SIGMA * sum(n**0.5 for n in weight.shape) for key, weight in network.named_parameters()}
    return [abs(rows[key]["sigma_plus"] / edge - 1) for key, edge in true.items()]


def main() -> None:
    command = parser(__doc__)
    command.add_argument("--rounds", type=int, default=ROUNDS, metavar="N", help="how often each side is timed")
    told = command.parse_args()
    torch.set_num_threads(THREADS)
    warm = module({"warm": (256, 64)}, 0)
    ours(warm)
    theirs(warm)
    network = module(ENDS | {f"{name}{index}": BLOCK[name] for index in range(BLOCKS) for name in BLOCK}, 1)
    fast, slow = [], []
    for index in range(max(told.rounds, 1)):
        (mine, rows), (other, table) = timed(lambda: ours(network)), timed(lambda: theirs(network))
        fast.append(mine)
        slow.append(other)
        print(f"round {index}: {len(rows)} matrices, ours {mine:.2f} s, WeightWatcher {other:.1f} s", flush=True)
    errors, spikes = edge_errors(network, rows), [row["spikes"] for row in rows.values()]
    exact = all(count == len(STRENGTHS) for count in spikes)
    print(f"largest error of the edge {max(errors):.2%}; all {len(STRENGTHS)} spikes counted in every matrix: {exact}")
    figures = {
        "ours_s": fast,
        "weightwatcher_s": slow,
        "matrices": len(rows),
        "edge_error": max(errors),
        "spikes_exact": exact,
        "weightwatcher_spikes": [int(count) for count in table["num_spikes"]],
    }
    conclude("spectral_fit", median(slow) / median(fast), TARGET, figures, told.json)


if __name__ == "__main__":
    main()
