"""k:n projection and orders of channels: how close to the best they come, and how fast, on one thread.

Patterns: 8:16 of a 768x3072 layer with random weights behind GELU units that share 64 causes. The greedy search
(`prune=cast`, search greedy) is compared with trying all 12,870 patterns, as one matrix product per block of cells:
times of the whole layer, or of a share of it for the enumeration, which costs the same for every cell; costs over the
best on that share. The same is told of a trained hidden layer, whose inputs are all at least zero and move together.

Orders: the published test of ASP's channel permutation (uniform numbers, seed 1, 128 rows, 64 channels, 2:4): what part
of the magnitude is saved that the default order loses against the best half of each row. Its rule is rebuilt from its
description. Then a trained layer (a digits network made here, no download): the mean square by which its 2:4 projection
changes its output, in a searched order against interleaves. The interleave takes no time, so until the time of the
search is used up it deals out again, with all importances and with ranks shuffled in their buckets; the best counts.

Seconds are of processor time of one thread, the least of the repetitions.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from common import Verdict, conclude_all, parser
from torch import Tensor, nn

SHAPE, GROUP, KEEP, SHARE = (768, 3072), 16, 8, 96
"""The layer, its pattern, and in how many parts it is cut of which enumeration does one."""
COST, SPEED = 1.0005, 50.0
EFFICACY, SECONDS, SWEEPS = 36.6, 1.0, 4
REPEATS = 3


def spent(work: Callable[[], Any], repeats: int) -> tuple[float, Any]:
    """The least processor time of a few runs, and what the last one found."""
    times = []
    for _ in range(repeats):
        start = time.process_time()
        found = work()
        times.append(time.process_time() - start)
    return min(times), found


# --- patterns --------------------------------------------------------------------------------------------------------


def random_layer() -> tuple[Tensor, Tensor]:
    """Weights, and second moments of inputs that go through GELU and share causes."""
    generator = torch.Generator().manual_seed(0)
    wide = SHAPE[1]
    causes = torch.randn(2048, 64, generator=generator) @ torch.randn(64, wide, generator=generator) / 8
    inputs = F.gelu(
        (causes + 0.7 * torch.randn(2048, wide, generator=generator)) * 2 * torch.rand(wide, generator=generator)
    )
    return 0.02 * torch.randn(SHAPE, generator=generator), inputs.T @ inputs / len(inputs)


def cells_of(weight: Tensor, moments: Tensor, group: int) -> Any:
    from prunery_plugins.prune.cast.cells import Cells
    from prunery_plugins.prune.cast.cutting import Cutting

    cutting = Cutting.of(weight, 1, "channels", group)
    return Cells(cutting.cells(weight), cutting.blocks(moments[None, None]))


def patterns(weight: Tensor, moments: Tensor, share: int, repeats: int) -> dict[str, float]:
    """Seconds of each search for the whole layer, and costs over the best."""
    from prunery_plugins.prune.cast.cells import Cells, costs
    from prunery_plugins.prune.cast.core import all_patterns, best_of, greedy
    from prunery_plugins.prune.cast.halves import best_by_halves

    cells, count = cells_of(weight, moments, GROUP), GROUP - KEEP
    part = Cells(*(each[: len(each) // share] for each in (cells.values, cells.moments)))
    scale = len(cells.values) / len(part.values)
    quick, found = spent(lambda: greedy(cells, count), repeats)
    slow, best = spent(lambda: best_of(part, all_patterns(GROUP, count)), 1)
    halves, same = spent(lambda: best_by_halves(part, count), 1)
    least = float(costs(part, best).sum())
    return {
        "greedy_s": quick,
        "enumeration_s": slow * scale,
        "halves_s": halves * scale,
        "greedy_cost": float(costs(part, found[: len(part.values)]).sum()) / least,
        "halves_cost": float(costs(part, same).sum()) / least,
    }


# --- orders ----------------------------------------------------------------------------------------------------------


def efficacy(repeats: int) -> tuple[float, float]:
    """Seconds, and the share (in %) of the lost magnitude that the search saves on the published matrix."""
    from prunery_plugins.prune.cast.ordering import grouped

    matrix = np.random.RandomState(1).rand(128, 64)
    kept, bound = magnitude(matrix), float(np.sort(matrix, axis=1)[:, 32:].sum())
    scores = torch.from_numpy(matrix)
    seconds, order = spent(lambda: grouped(scores, 4, 2, SWEEPS, torch.Generator().manual_seed(0)), repeats)
    return seconds, 100 * (magnitude(matrix[:, order.numpy()]) - kept) / (bound - kept)


def magnitude(matrix: np.ndarray) -> float:
    """What is left of a matrix by the two largest of each four."""
    return float(np.sort(matrix.reshape(len(matrix), -1, 4), axis=-1)[..., 2:].sum())


def trained_layer() -> tuple[Tensor, Tensor, Tensor]:
    """A hidden layer of a digits network: its weight, the second moments and the mean magnitudes of its inputs."""
    from sklearn.datasets import load_digits

    torch.manual_seed(0)
    digits = load_digits()
    inputs, labels = torch.tensor(digits.data / 8 - 1, dtype=torch.float32), torch.tensor(digits.target)
    network = nn.Sequential(nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 10))
    optimizer = torch.optim.AdamW(network.parameters(), lr=2e-3, weight_decay=0.01)
    for _ in range(30):
        for batch in torch.randperm(len(inputs)).split(64):
            loss = F.cross_entropy(network(inputs[batch]), labels[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    with torch.no_grad():
        hidden = F.relu(network[0](inputs))
    return network.get_parameter("2.weight").detach(), hidden.T @ hidden / len(hidden), hidden.abs().mean(0)


def orders(weight: Tensor, moments: Tensor, absolute: Tensor) -> dict[str, float]:
    """Losses of 2:4 over that of the present order: searched, interleaved once, and as often as time allows."""
    from prunery_plugins.prune.cast.layers import problem
    from prunery_plugins.prune.cast.ordering import importances, interleaved

    from prunery.registry import registry

    method: Any = registry().configured("prune", "cast", {"permute": "search"})
    row = {"input_moments": moments[None, None], "input_mean_abs": absolute[None, None]}
    layer = problem(weight, weight != 0, row, 1.0, method.settings, torch.Generator().manual_seed(0))
    seconds, order = spent(layer.order, 1)
    plain, generator = float(layer.losses(None).sum()), np.random.default_rng(0)
    ranked = [
        importances(weight, kind, {"square": moments.diagonal(), "absolute": absolute}).argsort(descending=True)
        for kind in ("activation", "weight", "paper")
    ]
    dealt: list[float] = []
    start = time.process_time()
    while time.process_time() - start < seconds or len(dealt) < len(ranked):
        ranks = ranked[len(dealt) % len(ranked)]
        if len(dealt) >= len(ranked):
            ranks = torch.cat([bucket[generator.permutation(len(bucket))] for bucket in ranks.chunk(4)])
        dealt.append(float(layer.losses(interleaved(-ranks.argsort().float(), 4)).sum()))
    return {
        "search_s": seconds,
        "searched": float(layer.losses(order).sum()) / plain,
        "quartile": dealt[0] / plain,
        "quartile_best": min(dealt) / plain,
        "quartiles": len(dealt),
    }


def main() -> None:
    command = parser(__doc__)
    command.add_argument("--share", type=int, default=SHARE, metavar="N", help="enumerate one of N parts of the layer")
    told = command.parse_args()
    torch.set_num_threads(1)
    synthetic = patterns(*random_layer(), told.share, REPEATS)
    weight, moments, absolute = trained_layer()
    real, order = patterns(weight, moments, 1, REPEATS), orders(weight, moments, absolute)
    seconds, saved = efficacy(REPEATS)
    for name, row in (("768x3072", synthetic), ("trained 256x256", real), ("orders", order)):
        print(f"{name}: " + ", ".join(f"{key} {value:.4g}" for key, value in row.items()))
    speed = synthetic["enumeration_s"] / synthetic["greedy_s"]
    verdicts = [
        Verdict("kn_projection cost over the best", round(synthetic["greedy_cost"], 6), COST, at_most=True, unit=""),
        Verdict("kn_projection speed over enumeration", speed, SPEED),
        Verdict("kn_projection efficacy of an order", round(saved, 2), EFFICACY, unit=" %"),
        Verdict("kn_projection seconds for it", round(seconds, 3), SECONDS, at_most=True, unit=" s"),
        Verdict(
            "kn_projection searched over interleaved", order["searched"] / order["quartile_best"], 1.0, at_most=True
        ),
    ]
    figures = {
        "patterns": synthetic,
        "patterns_trained": real,
        "orders": order,
        "efficacy": saved,
        "efficacy_s": seconds,
    }
    conclude_all(verdicts, figures, told.json)


if __name__ == "__main__":
    main()
