"""Accuracy after channels are removed: our scores against torch-pruning's own pruner, at the same multiply-accumulates.

VGG-11 and ResNet-18 are trained on a part of CIFAR-10 (`PRUNERY_DATA`). From each checkpoint torch-pruning removes
channels step by step until 2, 3 and 5 times fewer MACs are left: by group magnitude over the whole network, by the same
in every layer alike, and by its group Taylor score. Ours are asked for the least MACs of those. All are tuned alike and
compared on test data. Which candidate stands for either side is decided on validation data, once per network and ratio.
Differences are paired by seed, with 95 % t-intervals.
"""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import torch
from common import Verdict, conclude_all, parser
from scipy.stats import t as student
from torch import nn

from prunery.calibrate import calibrate
from prunery.checkpoint import Checkpoint, Origin, Replica
from prunery.data import Dataset, Spec
from prunery.datafolder import data_folder
from prunery.prune import prune
from prunery.registry import registry
from prunery.sizes import macs as layer_macs
from prunery.training import fit

NETWORKS = {"vgg11": ("vgg", {}), "resnet18": ("timm", {"name": "resnet18"})}
RATIOS = (2.0, 3.0, 5.0)
CANDIDATES = {
    "taylor": ({"score": "taylor", "normalize": "none"}, 1),
    "taylor, 5 rounds": ({"score": "taylor", "normalize": "none"}, 5),
    "taylor, by layer": ({"score": "taylor"}, 1),
    "l2": ({"score": "l2"}, 1),
}
"""Settings of `prune=channels`, and in how many steps of a recipe it removes: these compete on validation data."""
RIVALS = {
    "tp magnitude": ("magnitude", True),
    "tp magnitude, layer": ("magnitude", False),
    "tp taylor": ("taylor", True),
}
"""torch-pruning's importance, and whether it ranks the whole network: these compete on validation data too."""
STEPS = 400
"""torch-pruning takes so many steps from all channels to none; it stops on the way."""
FRESH = 10
"""Steps after which its Taylor score is given new gradients."""


def method(stage: str, called: str, /, **settings: Any) -> Any:
    return registry().configured(stage, called, settings)


def train(network: nn.Module, dataset: Dataset, seed: int, epochs: int, rate: float) -> None:
    """SGD with momentum and the published augmentation, in place."""
    settings = {"optimizer": "sgd", "momentum": 0.9, "weight_decay": 5e-4, "crop_padding": 4, "horizontal_flip": True}
    learner = method("finetune", "supervised", epochs=epochs, batch_size=64, learning_rate=rate, **settings)
    fit(learner, {seed: network}, dataset, False, lambda _: None)


@torch.no_grad()
def accuracy(network: nn.Module, dataset: Dataset, split: str) -> float:
    """Share of a split that is classified right, in percent."""
    network.eval()
    hits = sum(int((network(inputs).argmax(1) == labels).sum()) for inputs, labels in dataset.batches(split, 250))
    return 100 * hits / len(dataset.split(split))


def macs(network: nn.Module, spec: Spec) -> int:
    return sum(layer_macs(network, spec).values())


def theirs(network: nn.Module, dataset: Dataset, seed: int, rival: tuple[str, bool]) -> dict[float, nn.Module]:
    """By ratio, what torch-pruning's own pruner leaves: step by step, a copy taken where the MACs are few enough."""
    import torch_pruning as tp

    pruned, example = copy.deepcopy(network), torch.randn(1, *dataset.spec.shape)
    last = [layer for layer in pruned.modules() if isinstance(layer, nn.Linear)][-1]
    kinds = {"magnitude": tp.importance.GroupMagnitudeImportance(p=2), "taylor": tp.importance.GroupTaylorImportance()}
    pruner = tp.pruner.BasePruner(
        pruned, example, importance=kinds[rival[0]], global_pruning=rival[1], pruning_ratio=1.0,
        iterative_steps=STEPS, ignored_layers=[last],
    )  # fmt: skip
    batch, full = dataset.split("train").drawn(256, seed), macs(network, dataset.spec)
    found: dict[float, nn.Module] = {}
    for step in range(STEPS):
        reached = full / macs(pruned, dataset.spec)
        for ratio in (each for each in RATIOS if each not in found and reached >= each):
            found[ratio] = copy.deepcopy(pruned)
            found[ratio].zero_grad()
        if len(found) == len(RATIOS):
            return found
        if rival[0] == "taylor" and step % FRESH == 0:  # on the way gradients are cut as their weights are
            pruned.zero_grad()
            nn.functional.cross_entropy(pruned(dataset.network_inputs(batch.inputs)), batch.labels).backward()
        pruner.step()
    raise RuntimeError(f"torch-pruning left {macs(pruned, dataset.spec)} of {full} MACs, fewer were wanted")


def ours(checkpoint: Checkpoint, dataset: Dataset, wanted: int, settings: dict[str, str], rounds: int) -> nn.Module:
    """`prune=channels`, once or again and again, each time by what is measured then, until as many MACs are left."""
    full = macs(checkpoint.networks[0], dataset.spec)
    for number in range(1, rounds + 1):
        left = full * (wanted / full) ** (number / rounds)
        share = 1 - left / macs(checkpoint.networks[0], dataset.spec)
        pruner = method("prune", "channels", target="macs", share=share, scope="global", **settings)
        measured: dict[int, dict[str, Any]] = {seed: {} for seed in checkpoint.seeds}
        for need in pruner.needs():
            stage, _, name = need.partition("=")
            for seed, rows in calibrate(method(stage, name), checkpoint, dataset).items():
                measured[seed][name] = rows
        checkpoint = checkpoint.child(prune(pruner, checkpoint, measured), {})
    return checkpoint.networks[0]


def dense(name: str, dataset: Dataset, seed: int, epochs: int) -> Checkpoint:
    """A trained network."""
    model, settings = NETWORKS[name]
    architecture = method("model", model, **settings)
    torch.manual_seed(seed)
    network = architecture.create(dataset.spec)
    train(network, dataset, seed, epochs, 0.02)
    return Checkpoint(Origin(*architecture.origin(), dataset.spec), {seed: Replica(network)})


def one_seed(name: str, dataset: Dataset, seed: int, epochs: int, tune: int) -> list[dict[str, Any]]:
    """Every pruner at every ratio from one checkpoint; a row each, printed as it comes."""
    checkpoint, rows = dense(name, dataset, seed, epochs), []
    network, spec = checkpoint.networks[0], dataset.spec
    removed = {key: theirs(network, dataset, seed, rival) for key, rival in RIVALS.items()}
    print(f"{name}, seed {seed}: {accuracy(network, dataset, 'test'):.1f} % dense", flush=True)
    for ratio in RATIOS:
        made = {key: by_ratio[ratio] for key, by_ratio in removed.items()}
        least = min(macs(rival, spec) for rival in made.values())
        made |= {key: ours(checkpoint, dataset, least, *each) for key, each in CANDIDATES.items()}
        for who, pruned in made.items():
            row: dict[str, Any] = {"network": name, "seed": seed, "ratio": ratio, "who": who}
            row |= {"macs": macs(pruned, spec), "before": accuracy(pruned, dataset, "test")}
            train(pruned, dataset, seed, tune, 0.01)
            row |= {split: accuracy(pruned, dataset, split) for split in ("validation", "test")}
            print("  {who:19} {ratio:g}x  {macs:,} MACs  {before:.1f} % to {test:.1f} %".format(**row), flush=True)
            rows.append(row)
    return rows


def compared(rows: list[dict[str, Any]], name: str, ratio: float) -> dict[str, Any]:
    """Our best candidate on validation data against torch-pruning's, on test data."""

    def figures(who: str, split: str) -> np.ndarray:
        chosen = [row for row in rows if (row["network"], row["ratio"], row["who"]) == (name, ratio, who)]
        return np.array([row[split] for row in sorted(chosen, key=lambda row: row["seed"])])

    best, rival = (max(side, key=lambda who: figures(who, "validation").mean()) for side in (CANDIDATES, RIVALS))
    apart = figures(best, "test") - figures(rival, "test")
    count = len(apart)
    reach = student.ppf(0.975, count - 1) * apart.std(ddof=1) / count**0.5 if count > 1 else float("inf")
    found = {"network": name, "ratio": ratio, "candidate": best, "ours": float(figures(best, "test").mean())}
    found |= {"rival": rival, "theirs": float(figures(rival, "test").mean()), "difference": float(apart.mean())}
    return found | {"low": float(apart.mean() - reach), "high": float(apart.mean() + reach), "seeds": count}


def main() -> None:
    command = parser(__doc__)
    command.add_argument("--seeds", type=int, default=3, metavar="N")
    command.add_argument("--images", type=int, default=2000, metavar="N", help="training images")
    command.add_argument("--epochs", type=int, default=15, metavar="N", help="epochs of the dense network")
    command.add_argument("--tune", type=int, default=4, metavar="N", help="epochs of every pruned network")
    command.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    command.add_argument("--threads", type=int, default=2, metavar="N")
    told = command.parse_args()
    torch.set_num_threads(told.threads)
    source = method("data", "cifar10", train_limit=told.images, test_limit=2000)
    dataset = source.load(data_folder(None))
    rows = [
        row
        for name in told.networks
        for seed in range(told.seeds)
        for row in one_seed(name, dataset, seed, told.epochs, told.tune)
    ]
    table = [compared(rows, name, ratio) for name in told.networks for ratio in RATIOS]
    for line in table:
        print(
            "{network} {ratio:g}x: {candidate} {ours:.1f} %, {rival} {theirs:.1f} %, "
            "{difference:+.1f} [{low:+.1f}, {high:+.1f}]".format(**line)
        )
    differences = [line["difference"] for line in table]
    verdicts = [
        Verdict("channel_pruning, least difference", round(min(differences), 2), 0.0, unit=" points"),
        Verdict("channel_pruning, mean difference", round(float(np.mean(differences)), 2), 0.0, unit=" points"),
    ]
    conclude_all(verdicts, {"table": table, "rows": rows}, told.json)


if __name__ == "__main__":
    main()
