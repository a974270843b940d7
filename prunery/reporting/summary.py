"""One line per recipe: accuracy with its interval, sizes, measured speeds; and what stands out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from prunery.reporting.results import DENSE, Results
from prunery.reporting.statistics import Interval, clipped, mean_interval

TOLERANCE = 0.01
"""A recipe counts as accurate when its mean validation accuracy is at most this far below its dense network's."""

EVEN = "within noise"
"""The outcome of a ratio that two copies of one network could show too."""
TIMED = ("latency_ms", "reference_latency_ms", "speedup", "control")
SIZES = ("parameters", "nonzero", "weight_sparsity", "sparsity", "bits", "file_bytes", "macs")


@dataclass(frozen=True)
class Speed:
    """A measured latency (ms per batch), the dense network's on that backend, and their ratio, with intervals.

    `control` is the ratio of the dense network to a second copy of itself: what the measurement adds of its own.
    """

    backend: str
    precision: str
    reference_precision: str
    kind: str
    batch: int | None
    latency: tuple[float, float, float]
    reference: tuple[float, float, float]
    speedup: tuple[float, float, float]
    control: tuple[float, float, float]

    @property
    def outcome(self) -> str:
        """`faster` or `slower` if the ratio's whole interval lies beyond all that equal networks differ by."""
        noise = max(self.control[2], 1 / self.control[1], 1.0)
        if self.speedup[1] > noise:
            return "faster"
        return "slower" if self.speedup[2] < 1 / noise else EVEN


@dataclass(frozen=True)
class Line:
    """A recipe's figures: means over its replicas; `sizes` lacks what was not measured."""

    path: str
    base: str
    recipe: str
    columns: dict[str, Any]
    test: Interval
    validation: Interval
    sizes: dict[str, float]
    speeds: tuple[Speed, ...]
    diverged: int = 0

    @property
    def accuracy(self) -> str:
        """Test accuracy in words, with the number of replicas whose training diverged, here or on the way."""
        lost = f", {self.diverged} diverged" if self.diverged else ""
        return accuracy_text(self.test) + lost

    @property
    def fastest(self) -> Speed | None:
        """The measured time on the backend that runs this recipe fastest."""
        return min(self.speeds, key=lambda speed: speed.latency[0], default=None)

    @property
    def family(self) -> str:
        """What was done to the network, in one word or two."""
        pruned, quantized = self.columns["prune"] is not None, self.columns["quantize"] is not None
        if pruned or quantized:
            return " + ".join(word for word, done in (("pruned", pruned), ("quantized", quantized)) if done)
        return DENSE if self.recipe == DENSE else "trained further"


def summarize(results: Results) -> list[Line]:
    """A line for every evaluated recipe, by its first evaluation that tells accuracies, in the order of the files."""
    if "test_accuracy" not in results.replicas:
        return []
    variant = results.replicas.groupby("path", sort=False)["evaluate"].transform("first")
    grouped = results.replicas[results.replicas["evaluate"] == variant].groupby("path", sort=False)
    names = [name for name in SIZES if name in results.replicas]
    means = grouped[names].mean()
    sizes = means.where(grouped[names].count().eq(grouped.size(), axis=0)).to_dict("index")
    return [_line(str(path), rows, sizes[path], results) for path, rows in grouped]


def _line(path: str, rows: pd.DataFrame, means: Mapping[Any, float], results: Results) -> Line:
    """`means` are those of the sizes, NaN where a replica lacks one."""
    first = rows.iloc[0]
    sizes = {str(name): float(value) for name, value in means.items() if not pd.isna(value)}
    test, validation = (clipped(mean_interval(rows[f"{split}_accuracy"]), 0.0, 1.0) for split in ("test", "validation"))
    columns = {name: None if pd.isna(first[name]) else first[name] for name in ("stage", "prune", "quantize")}
    lost = {seed for stage in results.chain(path) for seed in results.stages[stage].provenance.get("diverged", {})}
    speeds = _speeds(path, results.bench)
    return Line(path, first["base"], first["recipe"], columns, test, validation, sizes, speeds, len(lost))


def _speeds(path: str, bench: pd.DataFrame) -> tuple[Speed, ...]:
    if bench.empty:
        return ()
    rows = bench[(bench["path"] == path) & (bench["status"] == "ok")].drop_duplicates("backend")
    return tuple(map(measured_speed, rows.to_dict("records")))


def measured_speed(row: Mapping[Any, Any]) -> Speed:
    """What a row of the bench table says, if its status is `ok`."""
    batch = None if pd.isna(row["batch"]) else int(row["batch"])
    figures = [(row[name], row[f"{name}_low"], row[f"{name}_high"]) for name in TIMED]
    return Speed(row["backend"], row["precision"], row["reference_precision"], row["kind"], batch, *figures)


@dataclass(frozen=True)
class Highlight:
    """What stands out among a base's recipes, chosen on validation; `smallest` and `fastest` may be missing."""

    base: str
    dense: Line
    recipes: int
    smallest: Line | None
    fastest: Line | None

    @property
    def shrink(self) -> float:
        """How many times fewer bits the smallest recipe stores than the dense network."""
        assert self.smallest is not None
        return self.dense.sizes["bits"] / self.smallest.sizes["bits"]


def highlights(lines: list[Line]) -> list[Highlight]:
    """For each base with a dense network: the smallest and the fastest of its recipes that stay accurate."""
    found = []
    for base in dict.fromkeys(line.base for line in lines):
        group = [line for line in lines if line.base == base]
        dense = next((line for line in group if line.recipe == DENSE), None)
        if dense is not None:
            found.append(_highlight(dense, [line for line in group if line is not dense]))
    return found


def _highlight(dense: Line, others: list[Line]) -> Highlight:
    accurate = [line for line in others if line.validation.mean >= dense.validation.mean - TOLERANCE]
    small = [line for line in accurate if line.sizes["bits"] < dense.sizes["bits"]]
    fast = [line for line in accurate if line.fastest and line.fastest.outcome == "faster"]
    smallest = min(small, key=lambda line: (line.sizes["bits"], -line.validation.mean), default=None)
    fastest = min(fast, key=lambda line: line.fastest.latency[0] if line.fastest else 0.0, default=None)
    return Highlight(dense.base, dense, len(others), smallest, fastest)


# --- as text and as csv ----------------------------------------------------------------------------------------------


def percent(value: float) -> str:
    """A share as a percentage with one decimal."""
    return f"{100 * value:.1f} %"


def accuracy_text(interval: Interval) -> str:
    """Mean, interval and number of seeds, such as `97.1 % [96.2, 98.0], 5 seeds`."""
    seeds = f"{interval.count} seed{'s' if interval.count > 1 else ''}"
    if interval.low is None or interval.high is None:
        return f"{percent(interval.mean)}, {seeds}"
    return f"{percent(interval.mean)} [{100 * interval.low:.1f}, {100 * interval.high:.1f}], {seeds}"


def size_text(bits: float) -> str:
    """Bits as KiB or MiB."""
    kib = bits / 8 / 1024
    return f"{kib:.1f} KiB" if kib < 1024 else f"{kib / 1024:.2f} MiB"


def speed_text(speed: Speed) -> str:
    """A ratio with its backend and both precisions, such as `1.83x openvino (int8 to fp32)`; noise is called so."""
    noise = f", {EVEN}" if speed.outcome == EVEN else ""
    return f"{speed.speedup[0]:.2f}x {speed.backend} ({speed.precision} to {speed.reference_precision}){noise}"


def terminal_table(lines: list[Line]) -> str:
    """The short table a user sees when a run ends."""
    header = ("recipe", "test accuracy [95%]", "zeros", "size", "measured speed-up on its fastest backend")
    rows = [
        (
            line.base if line.recipe == DENSE else f"{line.base}/{line.recipe}",
            line.accuracy,
            percent(line.sizes["weight_sparsity"]) if "weight_sparsity" in line.sizes else "-",
            size_text(line.sizes["bits"]) if "bits" in line.sizes else "-",
            speed_text(line.fastest) if line.fastest else "-",
        )
        for line in lines
    ]
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    table = [header, tuple("-" * width for width in widths), *rows]
    return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in table)


def csv_frame(lines: list[Line]) -> pd.DataFrame:
    """Every figure of every recipe; accuracies as shares, sizes as means over seeds, latencies in ms per batch."""
    return pd.DataFrame([_csv_row(line) for line in lines])


def _csv_row(line: Line) -> dict[str, Any]:
    row: dict[str, Any] = {"path": line.path, "base": line.base, "recipe": line.recipe, "seeds": line.test.count}
    row["diverged"] = line.diverged
    for split, interval in (("test", line.test), ("validation", line.validation)):
        row |= {
            f"{split}_accuracy": interval.mean,
            f"{split}_accuracy_low": interval.low,
            f"{split}_accuracy_high": interval.high,
        }
    row |= line.sizes
    for speed in line.speeds:
        row |= {
            f"{speed.backend}_precision": speed.precision,
            f"{speed.backend}_reference_precision": speed.reference_precision,
        }
        for name, figures in zip(TIMED, (speed.latency, speed.reference, speed.speedup, speed.control), strict=True):
            row |= {f"{speed.backend}_{name}{end}": x for end, x in zip(("", "_low", "_high"), figures, strict=True)}
    return row
