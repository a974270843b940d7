"""Marchenko-Pastur fits of ViT-B/16's 50 weight matrices: ours against WeightWatcher's, and against bare eigenvalues.

All read the same torch modules in this process, on two threads, the whole network at a time, in turns; the medians of
the rounds are compared. Processor time stands beside them: other load on the machine disturbs it less. The bare
computation is what no fit can do without: the smaller Gram matrices and their eigenvalues, by the quickest routines at
hand (ours) and by torch's, one matrix per core as in the fits. The matrices are Gaussian noise with planted spikes
(1.5, 2, 3 and 8 times the strength at which a spike leaves the bulk), so that the answers are known: the bulk edge
sigma (sqrt(rows) + sqrt(columns)), and four spikes each.
"""

from __future__ import annotations

import contextlib
import io
import time
import warnings
from collections.abc import Callable
from functools import partial
from statistics import median
from typing import Any

import torch
from common import Verdict, conclude_all, parser
from torch import Tensor, nn

from prunery import SpectralFitter

THREADS, BLOCKS, ROUNDS = 2, 12, 3
FASTER, BARE = 30.0, 1.5
"""Targets: at least so many times as fast as WeightWatcher, at most so many times the bare computation."""
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


def timed(work: Callable[[], Any]) -> tuple[float, float, Any]:
    """Seconds, seconds of processor time of all threads, and what came of it."""
    start, spent = time.perf_counter(), time.process_time()
    found = work()
    return time.perf_counter() - start, time.process_time() - spent, found


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


class Bare(SpectralFitter):
    """The smaller Gram matrix and its eigenvalues, by the routines of `mp`, and nothing else."""

    name = "bare"
    imports = ("torch", "scipy.linalg")

    def fit(self, matrix: Tensor) -> dict[str, Any]:
        """The largest eigenvalue."""
        from prunery_plugins.spectral_fit.mp.core import gram_eigenvalues

        return {"largest": float(gram_eigenvalues(matrix)[-1])}


class BareTorch(SpectralFitter):
    """The same by torch."""

    name = "bare_torch"

    def fit(self, matrix: Tensor) -> dict[str, Any]:
        """The largest eigenvalue."""
        gram = matrix @ matrix.T if matrix.shape[0] <= matrix.shape[1] else matrix.T @ matrix
        return {"largest": float(torch.linalg.eigvalsh(gram)[-1])}


def bare(method: SpectralFitter, network: nn.Module) -> dict[str, dict[str, Any]]:
    from prunery.spectral_fit import fit_network

    return fit_network(method, network)


def edges(network: nn.Module, rows: dict[str, dict[str, Any]], table: Any) -> dict[str, Any]:
    """Relative errors of both upper edges against the known one; None where WeightWatcher has no fit.

    WeightWatcher's edge has no Tracy-Widom term, so ours is also given without (`sigma_edge`).
    """
    squares = dict(zip(table["longname"], table["bulk_max"], strict=True))
    found: dict[str, list[float | None]] = {"sigma_plus": [], "sigma_edge": [], "weightwatcher": []}
    for key, weight in network.named_parameters():
        true = SIGMA * sum(n**0.5 for n in weight.shape)
        square = float(squares.get(key.removesuffix(".weight"), -1))
        found["sigma_plus"].append(rows[key]["sigma_plus"] / true - 1)
        found["sigma_edge"].append(rows[key]["sigma_edge"] / true - 1)
        found["weightwatcher"].append(square**0.5 / true - 1 if square > 0 else None)
    return found


def told(errors: dict[str, list[float | None]]) -> str:
    """The largest error of each edge, and of how many matrices there is one."""
    parts = []
    for name, values in errors.items():
        held = [abs(value) for value in values if value is not None]
        parts.append(f"{name} {max(held, default=float('nan')):.2%} ({len(held)} of {len(values)} matrices)")
    return "largest error of the edge: " + ", ".join(parts)


SIDES: dict[str, Callable[[nn.Module], Any]] = {
    "ours": ours,
    "bare": lambda network: bare(Bare(), network),
    "bare_torch": lambda network: bare(BareTorch(), network),
    "weightwatcher": theirs,
}


def raced(network: nn.Module, rounds: int) -> tuple[dict[str, list[float]], dict[str, list[float]], dict[str, Any]]:
    """Seconds and seconds of processor time of each side, round by round, and its last results."""
    wall: dict[str, list[float]] = {name: [] for name in SIDES}
    processor: dict[str, list[float]] = {name: [] for name in SIDES}
    results: dict[str, Any] = {}
    for index in range(rounds):
        for name, side in SIDES.items():
            elapsed, spent, results[name] = timed(partial(side, network))
            wall[name].append(elapsed)
            processor[name].append(spent)
        line = (f"{name} {wall[name][-1]:.2f} s ({processor[name][-1]:.2f} s of processor time)" for name in SIDES)
        print(f"round {index}: " + ", ".join(line), flush=True)
    return wall, processor, results


def main() -> None:
    command = parser(__doc__)
    command.add_argument("--rounds", type=int, default=ROUNDS, metavar="N", help="how often each side is timed")
    asked = command.parse_args()
    torch.set_num_threads(THREADS)
    warm = module({"warm": (256, 64)}, 0)
    for side in SIDES.values():
        side(warm)
    network = module(ENDS | {f"{name}{index}": BLOCK[name] for index in range(BLOCKS) for name in BLOCK}, 1)
    wall, processor, results = raced(network, max(asked.rounds, 1))
    rows, table = results["ours"], results["weightwatcher"]
    errors = edges(network, rows, table)
    exact = all(row["spikes"] == len(STRENGTHS) for row in rows.values())
    print(told(errors))
    print(f"all {len(STRENGTHS)} spikes counted in every one of {len(rows)} matrices: {exact}")
    figures = {
        "seconds": wall,
        "processor_seconds": processor,
        "edge_errors": errors,
        "spikes_exact": exact,
        "weightwatcher_spikes": [int(count) for count in table["num_spikes"]],
    }
    middle = {name: median(held) for name, held in wall.items()}
    verdicts = [
        Verdict("spectral_fit against WeightWatcher", middle["weightwatcher"] / middle["ours"], FASTER),
        Verdict("spectral_fit against bare eigenvalues", middle["ours"] / middle["bare"], BARE, at_most=True),
    ]
    conclude_all(verdicts, figures, asked.json)


if __name__ == "__main__":
    main()
