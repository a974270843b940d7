"""Training: one or many networks, each as if it were alone.

A replica's order of data, augmentation and noise come from its own generators, its gradient is clipped by its own norm
and it stops when its own validation loss says so; hence it ends up the same, to float tolerance, in whatever company
it trains.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from prunery.accompanied import AccompaniedRun
from prunery.contract import Learner
from prunery.data import Dataset
from prunery.epochs import Replica, Run, Task
from prunery.errors import PruneryError
from prunery.history import Epochs, History, Progress
from prunery.layers import quantized_layers
from prunery.network import device as default_device
from prunery.programs import Program, programs
from prunery.taught import FeatureLearner
from prunery.teacher import Teacher


@dataclass(frozen=True)
class Outcome:
    """What came of the replicas of one shape. `diverged` says in which epoch a seed's loss ceased to be finite."""

    history: History
    diverged: dict[int, int]

    @property
    def provenance(self) -> dict[str, Any]:
        """What a checkpoint says of it: `diverged`, by seed, if there are such."""
        return {"diverged": {str(seed): epoch for seed, epoch in self.diverged.items()}} if self.diverged else {}


def fit(
    learner: Learner,
    networks: dict[int, nn.Module],
    dataset: Dataset,
    batched: bool,
    progress: Progress,
    teachers: dict[int, nn.Module] | None = None,
    device: torch.device | None = None,
) -> Outcome:
    """Train networks of one shape, in place, by seed; see `fit_shapes`. `teachers` go with the seeds."""
    return fit_shapes(learner, [networks], dataset, batched, progress, teachers, device)[0]


def fit_shapes(
    learner: Learner,
    shapes: Sequence[dict[int, nn.Module]],
    dataset: Dataset,
    batched: bool,
    progress: Progress,
    teachers: dict[int, nn.Module] | None = None,
    device: torch.device | None = None,
) -> list[Outcome]:
    """Train networks of one or several shapes, in place; all shapes have the same seeds.

    They end on the CPU in evaluation mode. `batched` asks for as many at once as is quick; else each is trained after
    the other. A replica whose loss ceases to be finite keeps the weights it had an epoch before; the others go on.
    Raises `PruneryError` for a quantized network, and if no replica's loss stays finite.
    """
    for network in (network for shape in shapes for network in shape.values()):
        _check_trainable(network)
    batched = batched and not isinstance(learner, FeatureLearner)
    task = Task(learner, dataset, progress, device or default_device())
    history: dict[Replica, Epochs] = {}
    diverged: dict[Replica, int] = {}
    total = sum(map(len, shapes))
    for program in programs(shapes, batched, task.device):
        teacher = None
        if teachers is not None:
            teacher = Teacher([teachers[seed] for seed in program.seeds], batched, task.device)
        run = _run(task, program, teacher, _title(program, len(history), total))
        run.run()
        history |= run.history
        diverged |= run.diverged
    if len(diverged) == total:
        raise PruneryError(_lost(learner, sorted(diverged)[0], diverged))
    return [
        Outcome(
            {seed: history[number, seed] for seed in shape},
            {seed: diverged[number, seed] for seed in shape if (number, seed) in diverged},
        )
        for number, shape in enumerate(shapes)
    ]


def _run(task: Task, program: Program, teacher: Teacher | None, title: str) -> Run:
    """The loop that a learner wants."""
    if not isinstance(task.learner, FeatureLearner):
        return Run(task, program, teacher, title)
    assert teacher is not None
    return AccompaniedRun(task, program, teacher, title)


def _title(program: Program, done: int, total: int) -> str:
    """What opens the program's lines of progress, if it is one of several."""
    if len(program) == total:
        return ""
    if len(program) == 1:
        return f"seed {program.seeds[0]} ({done + 1} of {total})  "
    return f"networks {done + 1} to {done + len(program)} of {total}  "


def _lost(learner: Learner, first: Replica, diverged: dict[Replica, int]) -> str:
    settings = learner.settings
    return (
        f"the loss of no network stays finite (seed {first[1]}: until epoch {diverged[first]}): lower 'learning_rate' "
        f"(now {settings.learning_rate:g}) or set 'clip_norm' in the {learner.stage} settings"
    )


def _check_trainable(network: nn.Module) -> None:
    for key, _ in quantized_layers(network):
        raise PruneryError(f"{key} is quantized and cannot be trained: put 'quantize' after training in the recipe")
    if not any(value.requires_grad for value in network.parameters()):
        raise PruneryError("the network has no parameter that can be trained: choose another model")
