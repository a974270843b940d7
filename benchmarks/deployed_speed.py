"""What a smaller VGG-11 gains where it runs: channels removed, then 8-bit integers, and 4-bit weights of large layers.

The dense network and the one with 71 % fewer parameters (the published ratios) learn coloured patterns of 32 x 32
pixels for a moment, so that answers can be compared; times do not depend on what they learnt. Every
speed-up is taken by the library's own bench: network, reference and a copy of the reference in turns, outputs checked
first, and integer kernels proved by the backend's own profile. The figures are of the best of three backends; the file
holds all of them.
"""

from __future__ import annotations

from typing import Any

import torch
from common import Verdict, conclude_all, parser

from prunery.bench import bench
from prunery.calibrate import calibrate
from prunery.checkpoint import Checkpoint, Origin, Replica
from prunery.data import Dataset, Split
from prunery.finetune import finetune
from prunery.prune import prune
from prunery.quantize import quantize
from prunery.registry import registry
from prunery.sizes import sizes

BACKENDS = ("eager", "onnxruntime", "openvino")
PROFILE = (0.1, 0.25, 0.4, 0.45, 0.5, 0.55, 0.7, 0, 0, 0)
"""Shares of channels removed from eight convolutions and two hidden layers in the paper: 2,785,206 parameters stay."""
CLASSES, SAMPLES = 10, 512
SHARE_OF_MACS, INT8, INT4 = 0.7, 2.5, 3.0
"""Targets: speed-up over the ratio of MACs at batch 64; int8 over fp32 on OpenVINO; int4 weights over fp32."""


def patterns(side: int = 32) -> Dataset:
    """Colour images of ten classes, each its own pattern under noise."""
    generator = torch.Generator().manual_seed(0)
    pictures = torch.rand(CLASSES, 3, side, side, generator=generator)

    def draw(count: int) -> Split:
        labels = torch.arange(count) % CLASSES
        noise = torch.rand(count, 3, side, side, generator=generator)
        return Split(((0.6 * pictures[labels] + 0.4 * noise) * 255).to(torch.uint8), labels)

    names = tuple(map(str, range(CLASSES)))
    return Dataset("image", names, draw(SAMPLES), draw(64), draw(SAMPLES), mean=(0.5,) * 3, std=(0.25,) * 3)


def method(stage: str, name: str, **settings: Any) -> Any:
    return registry().configured(stage, name, settings)


def fresh(dataset: Dataset, model: str, **settings: Any) -> Checkpoint:
    """An untrained network of seed 0."""
    architecture = method("model", model, **settings)
    torch.manual_seed(0)
    return Checkpoint(Origin(*architecture.origin(), dataset.spec), {0: Replica(architecture.create(dataset.spec))})


def trained(checkpoint: Checkpoint, dataset: Dataset, **settings: Any) -> Checkpoint:
    learner = method("finetune", "supervised", epochs=2, batch_size=32, learning_rate=1e-3, **settings)
    return checkpoint.child(finetune(learner, checkpoint, dataset, lambda _: None)[0], {})


def integers(checkpoint: Checkpoint, dataset: Dataset) -> Checkpoint:
    """The network in 8-bit integers."""
    quantizer = method("quantize", "ptq")
    found = calibrate(method("calibrate", "activations"), checkpoint, dataset)
    measured = {seed: {quantizer.settings.calibration: rows} for seed, rows in found.items()}
    return checkpoint.child(quantize(quantizer, checkpoint, measured), {})


def speedups(network: Checkpoint, reference: Checkpoint, dataset: Dataset, batch: int, threads: int) -> dict[str, Any]:
    """Figures by backend; told as they come."""
    bencher = method("bench", "latency", backends=BACKENDS, batch=batch, threads=threads)
    backends = {name: method("backend", name) for name in BACKENDS}
    record = bench(bencher, network, reference, dataset, backends, lambda line: print(f"  {line}", flush=True))
    found: dict[str, Any] = record["backends"]
    return found


def best(figures: dict[str, Any], backend: str | None = None) -> float:
    """The largest speed-up of the backends that have one, or that of one backend; 0 if there is none."""
    ratios = {name: row["speedup"]["ratio"] for name, row in figures.items() if row["status"] == "ok"}
    return ratios.get(backend, 0.0) if backend else max(ratios.values(), default=0.0)


def main() -> None:
    command = parser(__doc__)
    command.add_argument("--threads", type=int, default=2, metavar="N", help="cores a backend may use")
    told = command.parse_args()
    torch.set_num_threads(told.threads)
    dataset, figures = patterns(), {}
    dense = trained(fresh(dataset, "vgg"), dataset)
    pruner = method("prune", "channels", scope="profile", profile=PROFILE)
    pruned = trained(dense.child(prune(pruner, dense, {}), {}), dataset)
    quantized = integers(pruned, dataset)
    large = trained(fresh(dataset, "mlp", widths=(4096,) * 4), dataset)
    compact = large.child(quantize(method("quantize", "weights", format="int4", group=128), large, {}), {})

    size = {name: sizes(each.networks[0], dataset.spec) for name, each in (("dense", dense), ("pruned", pruned))}
    macs = size["dense"]["macs"] / size["pruned"]["macs"]
    print(f"{size['dense']['parameters']:,} to {size['pruned']['parameters']:,} parameters, {macs:.2f}x fewer MACs")
    pairs = {"pruned": (pruned, dense), "int8 of pruned": (quantized, pruned), "int4 weights": (compact, large)}
    for name, (network, reference) in pairs.items():
        for batch in (1, 64):
            print(f"{name}, batch {batch}")
            figures[f"{name}, batch {batch}"] = speedups(network, reference, dataset, batch, told.threads)
    verdicts = [
        Verdict(
            "speed-up of removed channels over MACs ratio, batch 64",
            best(figures["pruned, batch 64"]) / macs,
            SHARE_OF_MACS,
        ),
        Verdict(
            "int8 over fp32 pruned, OpenVINO, batch 64", best(figures["int8 of pruned, batch 64"], "openvino"), INT8
        ),
        Verdict("int4 weights over fp32, Linear(4096), batch 1", best(figures["int4 weights, batch 1"]), INT4),
    ]
    conclude_all(verdicts, {"macs_ratio": macs, "figures": figures}, told.json)


if __name__ == "__main__":
    main()
