"""The training loop: the epochs of one program, its replicas side by side."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from prunery.batching import Batch, Batches, derived_seed
from prunery.contract import Learner
from prunery.data import Dataset
from prunery.history import Epochs, Progress, Reporter
from prunery.optimizing import add_l1_gradients, keep_rows, learning_rate, make_optimizer, mixed_precision, set_rate
from prunery.patience import Patience
from prunery.programs import Program
from prunery.teacher import Teacher
from prunery.trainsettings import TrainingSettings

Replica = tuple[int, int]
"""A network among all that are trained: the number of its shape, and its seed."""


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


class Run:
    """One program on its way through the epochs.

    Replicas form a grid: `seeds` are its rows, `members` its columns, row by row. Those that are done leave when a
    whole row or column is; until then they are carried along, and nothing more is noted of them (`going`).
    """

    def __init__(self, task: Task, program: Program, teacher: Teacher | None, title: str) -> None:
        self.task, self.teacher, self.settings = task, teacher, task.settings
        self.ensemble = program.ensemble(task.device)
        self.seeds, self.members = list(program.seeds), list(program.members)
        self.going: set[Replica] = set(self.replicas)
        generators = [torch.Generator().manual_seed(task.seed("order", seed)) for seed in self.seeds]
        self.batches = Batches(task.dataset, self.settings, generators, task.device)
        self.optimizer = make_optimizer(self.ensemble, self.settings)
        self.patience: Patience[Replica] = Patience(self.settings.patience)
        self.reporter = Reporter(task.progress, title, self.settings.epochs)
        self.history: dict[Replica, Epochs] = {replica: [] for replica in self.replicas}
        self.diverged: dict[Replica, int] = {}
        self.step, self.rate = 0, 0.0

    @property
    def replicas(self) -> list[Replica]:
        """The grid, as the ensemble has it."""
        return [(member, seed) for seed in self.seeds for member in self.members]

    @property
    def done(self) -> float:
        """The share of all steps that is done with the present one."""
        return (self.step + 1) / (self.settings.epochs * len(self.batches.sizes))

    def run(self) -> None:
        """Train to the end and write the weights back into the networks."""
        self._prepare()
        self.ensemble.mask_weights()
        self.ensemble.remember(range(len(self.ensemble)))
        with self._own_noise():
            for epoch in range(1, self.settings.epochs + 1):
                self._note(epoch, self._train_epoch(epoch), self._validate())
                if not self.going:
                    break
        self.ensemble.write_back()

    def _prepare(self) -> None:
        """Let the teacher speak once for all epochs, where each shows the same inputs."""
        if self.teacher is not None and not self.batches.augmented:
            self.teacher.prepare(self.task.dataset, self.settings.batch_size)

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
        sums = torch.zeros(2, len(self.ensemble), device=self.task.device)
        steps, seen = len(self.batches.sizes), 0
        for number, batch in enumerate(self.batches.epoch(), start=1):
            labels = batch.labels
            if len(self.members) > 1:
                labels = labels.repeat_interleave(len(self.members), dim=0)
            logits, losses = self._train_step(batch, labels)
            size = labels.shape[1]
            seen += size
            sums[0] += losses * size
            sums[1] += right(logits, labels)
            if self.reporter.due():
                self.reporter.step(epoch, number, steps, float(sums[0].mean()) / seen)
        return sums / seen

    def _train_step(self, batch: Batch, labels: Int[Tensor, "replicas batch"]) -> tuple[Tensor, Tensor]:
        """One step of the optimizer; logits and losses, detached."""
        self.rate = learning_rate(self.settings, self.step, len(self.batches.sizes))
        set_rate(self.optimizer, self.rate)
        logits, losses = self._losses(batch, labels)
        self.optimizer.zero_grad()
        losses.sum().backward()
        self.ensemble.mask_gradients()
        if self.settings.clip_norm is not None:
            self._clip(self.settings.clip_norm)
        add_l1_gradients(self.optimizer)
        self.optimizer.step()
        self.ensemble.mask_weights()
        self.step += 1
        return logits.detach(), losses.detach()

    def _losses(
        self, batch: Batch, labels: Int[Tensor, "replicas batch"]
    ) -> tuple[Float[Tensor, "replicas batch classes"], Float[Tensor, " replicas"]]:
        """Logits, and the mean loss of each replica."""
        teacher = None if self.teacher is None else self.teacher.logits(batch)
        logits = self._logits(batch.inputs)
        return logits, self.task.learner.loss_at(self.done, logits, labels, teacher)

    def _clip(self, limit: float) -> None:
        self.ensemble.clip_gradients(limit)

    def _logits(self, inputs: Float[Tensor, "seeds batch ..."]) -> Float[Tensor, "replicas batch classes"]:
        with mixed_precision(self.settings.precision, self.task.device):
            return self.ensemble.forward(inputs).float()

    @torch.no_grad()
    def _validate(self) -> Float[Tensor, "2 replicas"]:
        """Cross-entropy and accuracy of each replica on the validation split."""
        self.ensemble.train(False)
        replicas = len(self.ensemble)
        sums = torch.zeros(2, replicas, device=self.task.device)
        for inputs, labels in self.task.dataset.batches("validation", max(256, self.settings.batch_size)):
            logits = self._logits(inputs.to(self.task.device).unsqueeze(0))
            targets = labels.to(self.task.device).expand(replicas, -1)
            sums[0] += F.cross_entropy(logits.movedim(-1, 1), targets, reduction="none").sum(1)
            sums[1] += right(logits, targets)
        return sums / len(self.task.dataset.validation)

    def _note(self, epoch: int, train: Float[Tensor, "2 replicas"], validation: Float[Tensor, "2 replicas"]) -> None:
        """Write the history of this epoch, keep the weights worth keeping, let replicas go that are done."""
        names = ("train_loss", "train_accuracy", "validation_loss", "validation_accuracy")
        columns = torch.cat([train, validation]).T.tolist()
        figures = {
            replica: dict(zip(names, column, strict=True))
            for replica, column in zip(self.replicas, columns, strict=True)
            if replica in self.going
        }
        rows = self._finite(epoch, figures)
        for replica, row in rows.items():
            self.history[replica].append({"epoch": epoch, **row, "learning_rate": self.rate})
        better, self.going = self.patience.judge({replica: row["validation_loss"] for replica, row in rows.items()})
        self.ensemble.remember([index for index, replica in enumerate(self.replicas) if replica in better])
        if rows:
            last = epoch == self.settings.epochs or not self.going
            self.reporter.epoch([self.history[replica][-1] for replica in rows], last)
        self._keep()

    def _finite(self, epoch: int, figures: dict[Replica, dict[str, float]]) -> dict[Replica, dict[str, float]]:
        """The figures of the replicas whose losses are finite; the others are told of, and done."""
        rows = {
            replica: row
            for replica, row in figures.items()
            if math.isfinite(row["train_loss"]) and math.isfinite(row["validation_loss"])
        }
        lost = {replica: epoch for replica in figures if replica not in rows}
        if lost:
            seeds = ", ".join(map(str, sorted({seed for _, seed in lost})))
            several = f" ({len(lost)} networks of several shapes)" if len(self.members) > 1 else ""
            self.task.progress(
                f"beware: the loss of seed {seeds}{several} is not finite in epoch {epoch}: such a network counts as "
                "diverged and keeps the weights it had an epoch before"
            )
        self.diverged |= lost
        return rows

    def _keep(self) -> None:
        """Shrink the grid to the seeds and members that have a replica going."""
        seeds = [row for row, seed in enumerate(self.seeds) if any((m, seed) in self.going for m in self.members)]
        members = [row for row, member in enumerate(self.members) if any((member, s) in self.going for s in self.seeds)]
        if not seeds or (len(seeds), len(members)) == (len(self.seeds), len(self.members)):
            return
        rows = [row * len(self.members) + column for row in seeds for column in members]
        self.seeds, self.members = [self.seeds[row] for row in seeds], [self.members[row] for row in members]
        self.ensemble.keep(rows)
        self.batches.keep(seeds)
        if self.teacher is not None:
            self.teacher.keep(seeds)
        keep_rows(self.optimizer, rows)


def right(logits: Float[Tensor, "replicas batch classes"], labels: Int[Tensor, "replicas batch"]) -> Tensor:
    """How many samples of each replica are classified right. (`max` of strided logits is far quicker than `argmax`.)"""
    return (logits.max(-1).indices == labels).sum(1)
