"""What a training run reports: figures per epoch and seed, and short lines while it goes on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from time import monotonic

Epochs = list[dict[str, float]]
"""For each epoch: `epoch` (from 1), `train_loss` (the recipe's own), `train_accuracy` (while training),
`validation_loss` (plain cross-entropy), `validation_accuracy`, `learning_rate` (of the epoch's last step)."""

History = dict[int, Epochs]
"""By seed."""

Progress = Callable[[str], None]


class Reporter:
    """Sends a line per epoch and, in long epochs, one every few seconds; quick epochs share a line.

    `title` opens every line; `pause` is the least time between two lines, `patience` the longest silence, in seconds.
    """

    def __init__(self, progress: Progress, title: str, epochs: int, pause: float = 1.0, patience: float = 5.0) -> None:
        self.progress, self.title, self.epochs = progress, title, epochs
        self.pause, self.patience = pause, patience
        self.last = monotonic()

    def due(self) -> bool:
        """Whether the last line was sent too long ago."""
        return monotonic() - self.last > self.patience

    def step(self, epoch: int, step: int, steps: int, loss: float) -> None:
        """A line within an epoch."""
        self._send(f"epoch {epoch}/{self.epochs}  step {step}/{steps}  loss {loss:.3f}")

    def epoch(self, rows: Sequence[Mapping[str, float]], last: bool) -> None:
        """A line on a finished epoch, from the figures of the replicas that still train."""
        if not last and rows[0]["epoch"] > 1 and monotonic() - self.last < self.pause:
            return
        loss, accuracy, validation = (
            sum(row[key] for row in rows) / len(rows) for key in ("train_loss", "train_accuracy", "validation_accuracy")
        )
        mean = f" (mean of {len(rows)})" if len(rows) > 1 else ""
        number = f"epoch {rows[0]['epoch']}/{self.epochs}"
        self._send(f"{number}  loss {loss:.3f}  accuracy {accuracy:.3f}  validation {validation:.3f}{mean}")

    def _send(self, line: str) -> None:
        self.last = monotonic()
        self.progress(self.title + line)
