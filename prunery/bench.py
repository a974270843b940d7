"""The stage `bench`: a network and its dense parent on real backends, checked against eager before they are timed."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from prunery.checkpoint import Checkpoint
from prunery.contract import Backend, Bencher, BenchSettings
from prunery.data import Dataset
from prunery.edits import float_edit, replay
from prunery.errors import PruneryError
from prunery.layers import weights
from prunery.machine import machine
from prunery.precisions import FOUR_BIT_ACTIVATIONS, kernels, precision
from prunery.rounds import statistics
from prunery.scratch import scratch
from prunery.simulating import simulating_layers
from prunery.sizes import macs_of

Run = Callable[[Tensor], Tensor]
ACCURACY = 0.005
"""Largest difference in accuracy between a quantized network on a backend and in eager (or one sample, if more)."""
FP32 = "fp32"


@dataclass(frozen=True)
class Samples:
    """Test samples that outputs are compared on, in whole batches (the last one repeats its samples to fill up)."""

    batches: list[Tensor]
    labels: Int[Tensor, " samples"]

    def logits(self, run: Run) -> Float[Tensor, "samples classes"]:
        """What a network answers to them, on the CPU."""
        answers = [run(batch).float().cpu() for batch in self.batches]
        return torch.cat(answers)[: len(self.labels)]


@dataclass(frozen=True)
class Subject:
    """A network, what eager makes of the samples, and the folder of its exported files."""

    network: nn.Module
    logits: Float[Tensor, "samples classes"]
    folder: Path

    @property
    def precision(self) -> str:
        """What its precision is called."""
        return precision(self.network)

    @property
    def kernels(self) -> list[str]:
        """What kernels it asks for beside fp32."""
        return kernels(self.network)


class Subjects(NamedTuple):
    """What is timed in turns: the network, its dense parent, and the parent once more, as if it were another."""

    network: Subject
    dense: Subject
    twin: Subject


def bench(
    method: Bencher,
    checkpoint: Checkpoint,
    dense: Checkpoint,
    dataset: Dataset,
    backends: Mapping[str, Backend],
    progress: Callable[[str], None],
) -> dict[str, Any]:
    """Times, and the checks that precede them, as JSON: `{"machine", "batch", "backends": {name: figures}}`.

    `figures["status"]` is `ok`, or why there is no time: the backend is absent, has no kernels of the network's
    precision, ran none (of sparse ones too), failed, or gave other outputs than eager, or the network only simulates
    integers. Of a dense network that simulates them, the float counterpart is timed. Raises `PruneryError` if the
    replica is not there.
    """
    settings = method.settings
    threads = settings.threads or torch.get_num_threads()
    seed = _seed(settings, checkpoint, dense)
    samples, rival = _samples(dataset, settings), _floating(dense.replicas[seed].network)
    found = {}
    with scratch() as folder:
        subjects = Subjects(
            *(
                _subject(network, samples, folder / name)
                for name, network in (("network", checkpoint.replicas[seed].network), ("dense", rival), ("twin", rival))
            )
        )
        for name, backend in backends.items():
            found[name] = _figures(method, backend, subjects, samples, threads)
            progress(f"{name}: {_told(found[name])}")
    distributions = [version for backend in backends.values() for version in backend.versions]
    record = {"batch": settings.batch, "samples": len(samples.labels), "replica": seed, "backends": found}
    return record | {"machine": machine(threads, distributions)}


def _seed(settings: BenchSettings, checkpoint: Checkpoint, dense: Checkpoint) -> int:
    seed = checkpoint.seeds[0] if settings.replica is None else settings.replica
    for owner, each in (("network", checkpoint), ("dense network", dense)):
        if seed not in each.replicas:
            raise PruneryError(f"bench: the {owner} has no seed {seed}, only {each.seeds}: set replica to one of them")
    return seed


def _samples(dataset: Dataset, settings: BenchSettings) -> Samples:
    chosen = dataset.test.head(settings.samples)
    order = torch.arange(math.ceil(len(chosen) / settings.batch) * settings.batch) % len(chosen)
    return Samples([dataset.network_inputs(chosen.inputs[part]) for part in order.split(settings.batch)], chosen.labels)


def _floating(network: nn.Module) -> nn.Module:
    """A network without the simulation of integers: what integers are compared with."""
    keys = [key for key, _ in simulating_layers(network)]
    return replay(copy.deepcopy(network), [float_edit(keys)]) if keys else network


def _subject(network: nn.Module, samples: Samples, folder: Path) -> Subject:
    folder.mkdir()
    with torch.no_grad():
        return Subject(network, samples.logits(network.cpu().eval()), folder)


def _figures(method: Bencher, backend: Backend, subjects: Subjects, samples: Samples, threads: int) -> dict[str, Any]:
    """Everything about one backend; a runtime's own failure is a finding, not the end of the job."""
    precisions = [named(each.precision, backend) for each in (subjects.network, subjects.dense)]
    figures: dict[str, Any] = {"precision": precisions[0], "reference_precision": precisions[1]}
    figures["kind"] = "structure" if precisions[0] == precisions[1] else "quantization"
    for key, _ in simulating_layers(subjects.network.network):
        return figures | {
            "status": f"{key} only simulates integers: put quantize=qat behind this recipe and bench that"
        }
    if reason := backend.available():
        return figures | {"status": reason}
    for kind in [*subjects.network.kernels, *subjects.dense.kernels, "fp32"]:
        if kind == FOUR_BIT_ACTIVATIONS:
            return figures | {"status": "activations of 4 bits have no kernels: accuracy can be evaluated, not speed"}
        if kind not in backend.precisions:
            return figures | {"status": f"{backend.name} has no {kind} kernels here"}
    try:
        return figures | _checked_times(method, backend, subjects, samples, threads)
    except Exception as error:  # runtimes raise whatever they like
        first = next(iter(str(error).splitlines()), "")
        return figures | {"status": f"{backend.name} failed: {type(error).__name__}: {first}"}


def _checked_times(
    method: Bencher, backend: Backend, subjects: Subjects, samples: Samples, threads: int
) -> dict[str, Any]:
    network, dense, _ = subjects
    example = samples.batches[0]
    runs = [backend.prepare(each.network, example, each.folder, threads) for each in subjects]
    share = backend.integer_share(runs[0], example) if network.kernels else None
    figures: dict[str, Any] = {"integer_share": share, "sparse_share": backend.sparse_share(runs[0], example)}
    compared, reason = _compared(backend, runs[0], network, samples, method.settings)
    figures |= compared
    _, reference_reason = _compared(backend, runs[1], dense, samples, method.settings)
    if network.kernels and not share:
        reason = f"{backend.name} ran none of the network's products with {network.precision} kernels"
    if figures["sparse_share"] == 0:
        reason = f"{backend.name} ran none of the network's products on sparse kernels: no layer has their pattern"
    if reason or reference_reason:
        return figures | {"status": reason or f"dense network: {reference_reason}"}
    placed = backend.place(example)
    times, reference, twin = method.times([partial(run, placed) for run in runs])
    figures |= {"status": "ok"} | statistics(times, reference, twin, len(example))
    return figures | ({} if figures["sparse_share"] else masked(network.network, dense.network, example[:1]))


def _compared(
    backend: Backend, run: Run, subject: Subject, samples: Samples, settings: BenchSettings
) -> tuple[dict[str, Any], str | None]:
    """How the backend's outputs compare to eager's, and why that is not good enough, if so."""
    found, wanted = samples.logits(lambda batch: run(backend.place(batch))), subject.logits
    largest = max(float(wanted.abs().max()), torch.finfo(wanted.dtype).tiny)
    error = float((found - wanted).abs().max()) / largest
    agreement = _share(found.argmax(1) == wanted.argmax(1))
    accuracy = {"test": _share(found.argmax(1) == samples.labels), "eager": _share(wanted.argmax(1) == samples.labels)}
    figures = {"max_error": error if math.isfinite(error) else None, "agreement": agreement, "accuracy": accuracy}
    if not math.isfinite(error):
        return figures, f"{backend.name} answers with NaN or infinity"
    if not subject.kernels and backend.arithmetic == FP32:
        wrong = error > settings.tolerance
        return figures, f"outputs differ from eager by {error:.2g} of the largest logit" if wrong else None
    apart = abs(accuracy["test"] - accuracy["eager"])
    if agreement < settings.agreement or apart > max(ACCURACY, 1 / len(samples.labels)) + 1e-9:
        return figures, f"outputs differ from eager: {agreement:.1%} of classes agree, accuracies are {apart:.2%} apart"
    return figures, None


def named(precision: str, backend: Backend) -> str:
    """What to call the precision of a network on a backend that may compute floating point in another than fp32."""
    return precision.replace(FP32, backend.arithmetic, 1) if precision.startswith(FP32) else precision


def masked(network: nn.Module, dense: nn.Module, sample: Tensor) -> dict[str, float]:
    """`masked_share`, weights that masks hold at zero over all weights of layers, if masks are all that tells a network
    from its dense parent: then the speed-up is what masks gain on kernels that multiply zeros too."""
    counts = [macs_of(each, sample) for each in (network, dense)]
    shown = weights(network)
    masks = {key.removesuffix("/mask"): mask for key, mask in network.named_buffers() if key.endswith("/mask")}
    held = sum(int((~mask).sum()) for key, mask in masks.items() if key in shown)
    total = sum(weight.numel() for weight in shown.values())
    return {"masked_share": held / total} if held and counts[0] == counts[1] else {}


def _share(hits: Tensor) -> float:
    return float(hits.double().mean())


def _told(figures: Mapping[str, Any]) -> str:
    """One line for the terminal."""
    if figures["status"] != "ok":
        return f"no time: {figures['status']}"
    speedup = figures["speedup"]
    against = f"{figures['precision']} to {figures['reference_precision']}"
    line = f"{figures['latency_ms']['median']:.3g} ms, {speedup['ratio']:.2f}x the dense network's speed ({against})"
    if share := figures.get("masked_share"):
        line += f"; masks alone: {share:.0%} of the weights are zeros, and its kernels multiply those too"
    return line
