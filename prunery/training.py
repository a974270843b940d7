"""The training loop: one or many replicas, each as if it were alone.

A replica's order of data, augmentation and noise come from its own generators, its gradient is clipped by its own norm
and it stops when its own validation loss says so; hence it ends up the same, to float tolerance, in whatever company
it trains.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from prunery.batching import Batch, Batches, derived_seed
from prunery.contract import Learner
from prunery.data import Dataset
from prunery.errors import PruneryError
from prunery.history import History, Progress, Reporter
from prunery.layers import integer_layers
from prunery.network import device as default_device
from prunery.optimizing import keep_rows, learning_rate, make_optimizer, mixed_precision, set_rate
from prunery.patience import Patience
from prunery.replicas import Ensemble, ensembles
from prunery.teacher import Teacher
from prunery.trainsettings import TrainingSettings


@dataclass(frozen=True)
class Task:
    """What replicas are trained for: a recipe on a data set."""

    learner: Learner
    dataset: Dataset
    progress: Progress
    device: torch.device

    @property
    def settings(self) -> TrainingSettings:
        """The recipe's settings."""
        settings: TrainingSettings = self.learner.settings
        return settings

    def seed(self, purpose: str, seed: int) -> int:
        """The seed of one source of randomness of one replica."""
        return derived_seed(f"{self.learner.stage}/{purpose}", seed, self.settings.seed_offset)


def fit(
    learner: Learner,
    networks: dict[int, nn.Module],
    dataset: Dataset,
    batched: bool,
    progress: Progress,
    teachers: dict[int, nn.Module] | None = None,
    device: torch.device | None = None,
) -> History:
    """Train networks, in place, by seed; they end on the CPU in evaluation mode.

    `batched` asks for all of them at once, which happens if they are alike; else each is trained after the other.
    Raises `PruneryError` for a quantized network and for a loss that is not finite.
    """
    for network in networks.values():
        _check_trainable(network)
    task = Task(learner, dataset, progress, device or default_device())
    seeds = list(networks)
    history: History = {}
    for ensemble in ensembles(list(networks.values()), batched, task.device):
        own = seeds[len(history) : len(history) + len(ensemble)]
        title = "" if len(own) == len(seeds) else f"seed {own[0]} ({len(history) + 1} of {len(seeds)})  "
        teacher = None if teachers is None else Teacher([teachers[seed] for seed in own], batched, task.device)
        history |= _Run(task, ensemble, own, teacher, title).run()
    return history


def _check_trainable(network: nn.Module) -> None:
    for key, _ in integer_layers(network):
        raise PruneryError(f"{key} holds integers and cannot be trained: put 'quantize' after training in the recipe")
    if not any(value.requires_grad for value in network.parameters()):
        raise PruneryError("the network has no parameter that can be trained: choose another model")


class _Run:
    """One ensemble on its way through the epochs. `seeds` are those of the replicas still training."""

    def __init__(self, task: Task, ensemble: Ensemble, seeds: list[int], teacher: Teacher | None, title: str) -> None:
        self.task, self.ensemble, self.seeds, self.teacher = task, ensemble, seeds, teacher
        self.settings = task.settings
        generators = [torch.Generator().manual_seed(task.seed("order", seed)) for seed in seeds]
        self.batches = Batches(task.dataset, self.settings, generators, task.device)
        self.optimizer = make_optimizer(ensemble, self.settings)
        self.patience = Patience(self.settings.patience)
        self.reporter = Reporter(task.progress, title, self.settings.epochs)
        self.history: History = {seed: [] for seed in seeds}
        self.step, self.rate = 0, 0.0

    def run(self) -> History:
        """Train to the end and write the weights back into the networks."""
        if self.teacher is not None and not self.batches.augmented:
            self.teacher.prepare(self.task.dataset, self.settings.batch_size)
        self.ensemble.mask_weights()
        self.ensemble.remember(range(len(self.seeds)))
        with self._own_noise():
            for epoch in range(1, self.settings.epochs + 1):
                self._note(epoch, self._train_epoch(epoch), self._validate())
                if not self.seeds:
                    break
        self.ensemble.write_back()
        return self.history

    @contextmanager
    def _own_noise(self) -> Iterator[None]:
        """Dropout and the like draw from torch's global generator: seed it from the replica, restore it afterwards."""
        devices = [self.task.device] if self.task.device.type == "cuda" else []
        with torch.random.fork_rng(devices):
            torch.manual_seed(self.task.seed("noise", self.seeds[0]))
            yield

    def _train_epoch(self, epoch: int) -> Float[Tensor, "2 replicas"]:
        """One pass over the training split; mean loss and accuracy of each replica."""
        self.ensemble.train(True)
        sums = torch.zeros(2, len(self.seeds), device=self.task.device)
        steps, seen = len(self.batches.sizes), 0
        for number, batch in enumerate(self.batches.epoch(), start=1):
            logits, losses = self._train_step(batch)
            size = batch.labels.shape[1]
            seen += size
            sums[0] += losses * size
            sums[1] += (logits.argmax(-1) == batch.labels).sum(1)
            if self.reporter.due():
                self.reporter.step(epoch, number, steps, float(sums[0].mean()) / seen)
        return sums / seen

    def _train_step(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """One step of the optimizer; logits and losses, detached."""
        self.rate = learning_rate(self.settings, self.step, len(self.batches.sizes))
        set_rate(self.optimizer, self.rate)
        teacher = None if self.teacher is None else self.teacher.logits(batch)
        logits = self._logits(batch.inputs)
        losses = self.task.learner.loss(logits, batch.labels, teacher)
        self.optimizer.zero_grad()
        losses.sum().backward()
        self.ensemble.mask_gradients()
        if self.settings.clip_norm is not None:
            self.ensemble.clip_gradients(self.settings.clip_norm)
        self.optimizer.step()
        self.ensemble.mask_weights()
        self.step += 1
        return logits.detach(), losses.detach()

    def _logits(self, inputs: Float[Tensor, "replicas batch ..."]) -> Float[Tensor, "replicas batch classes"]:
        with mixed_precision(self.settings.precision, self.task.device):
            return self.ensemble.forward(inputs).float()

    @torch.no_grad()
    def _validate(self) -> Float[Tensor, "2 replicas"]:
        """Cross-entropy and accuracy of each replica on the validation split."""
        self.ensemble.train(False)
        replicas = len(self.seeds)
        sums = torch.zeros(2, replicas, device=self.task.device)
        for inputs, labels in self.task.dataset.batches("validation", max(256, self.settings.batch_size)):
            logits = self._logits(inputs.to(self.task.device).expand(replicas, *inputs.shape))
            targets = labels.to(self.task.device).expand(replicas, -1)
            sums[0] += F.cross_entropy(logits.movedim(-1, 1), targets, reduction="none").sum(1)
            sums[1] += (logits.argmax(-1) == targets).sum(1)
        return sums / len(self.task.dataset.validation)

    def _note(self, epoch: int, train: Float[Tensor, "2 replicas"], validation: Float[Tensor, "2 replicas"]) -> None:
        """Write the history of this epoch, keep the weights worth keeping, let replicas go that are done."""
        names = ("train_loss", "train_accuracy", "validation_loss", "validation_accuracy")
        columns = torch.cat([train, validation]).T.tolist()
        rows = [dict(zip(names, column, strict=True)) for column in columns]
        self._check_finite(epoch, rows)
        for seed, row in zip(self.seeds, rows, strict=True):
            self.history[seed].append({"epoch": epoch, **row, "learning_rate": self.rate})
        last = epoch == self.settings.epochs
        better, going = self.patience.judge(self.seeds, [row["validation_loss"] for row in rows])
        if better and (last or self.settings.patience is not None):
            self.ensemble.remember(better)
        self.reporter.epoch([self.history[seed][-1] for seed in self.seeds], last or not going)
        self._keep(going)

    def _check_finite(self, epoch: int, rows: list[dict[str, float]]) -> None:
        losses = {seed: row["train_loss"] + row["validation_loss"] for seed, row in zip(self.seeds, rows, strict=True)}
        lost = [str(seed) for seed, loss in losses.items() if not math.isfinite(loss)]
        if lost:
            raise PruneryError(
                f"the loss of seed {', '.join(lost)} is not finite in epoch {epoch}: lower 'learning_rate' "
                f"(now {self.settings.learning_rate:g}) or set 'clip_norm' in the {self.task.learner.stage} settings"
            )

    def _keep(self, rows: list[int]) -> None:
        if len(rows) == len(self.seeds):
            return
        self.seeds = [self.seeds[row] for row in rows]
        if not rows:
            return
        self.ensemble.keep(rows)
        self.batches.keep(rows)
        if self.teacher is not None:
            self.teacher.keep(rows)
        keep_rows(self.optimizer, rows)
