"""What each layer's compression does to the network, as figures: calibrations that hold accuracies by layer.

Of a calibration's file only the few numbers of these curves are read; statistics of activations are large.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from prunery.errors import PruneryError
from prunery.findings import Chart, Findings, Table
from prunery.record import RECORD, read_record
from prunery.reporting.panels import COLOURS, accuracy_figure, line
from prunery.reporting.statistics import rounded

Floats = NDArray[np.float64]
Rows = dict[str, dict[str, Floats]]
NAMES = ("share", "accuracy", "dense_accuracy", "samples", "weights", "channels")
FORMAT = "accuracy_"
LOSSES = [[0, "#ffffff"], [1, "#c2410c"]]
DONE = {
    "weights": "its smallest weights set to zero",
    "channels": "some of its channels removed",
    "formats": "its weights stored in fewer bits",
}


def sensitivity_findings(root: Path, files: Iterable[Path]) -> dict[str, Findings]:
    """`<recipe>/calibrate=<variant>` -> table and figures, for each of the files that holds such curves.

    Raises `PruneryError` naming a file that cannot be read.
    """
    found = {}
    for file in files:
        if file.suffix == ".safetensors" and file.name.startswith("calibrate=") and (seeds := _read(file)):
            found[file.relative_to(root).with_suffix("").as_posix()] = _findings(seeds, _order(file.with_name(RECORD)))
    return found


def _order(record: Path) -> list[str]:
    """The keys of a network's tensors, in the network's order; none if its record cannot be read."""
    try:
        replicas = read_record(record.parent)["replicas"]
    except PruneryError:
        return []
    return list(next(iter(replicas.values()))["tensors"])


def _read(file: Path) -> dict[str, Rows]:
    """Seed -> key of the weight -> statistic; empty if the file holds no accuracies."""
    seeds: dict[str, Rows] = {}
    try:
        with safe_open(file, framework="numpy") as held:
            for flat in held.keys():  # noqa: SIM118 - it is no mapping
                place, _, name = flat.rpartition("/")
                seed, _, key = place.partition(":")
                if name in NAMES or name.startswith(FORMAT):
                    seeds.setdefault(seed, {}).setdefault(key, {})[name] = np.asarray(held.get_tensor(flat), float)
    except (SafetensorError, OSError, ValueError) as error:
        raise PruneryError(f"report: {file} is not a readable result ({error}): delete it and run again") from error
    return seeds if all("dense_accuracy" in row for rows in seeds.values() for row in rows.values()) else {}


def _findings(seeds: Mapping[str, Rows], order: list[str]) -> Findings:
    first = next(iter(seeds.values()))
    keys = [key for key in order if key in first] or list(first)
    row = first[keys[0]]
    mode = "formats" if "share" not in row else "channels" if "channels" in row else "weights"
    levels = _levels(row)
    dense = 100 * float(np.mean([each["dense_accuracy"] for rows in seeds.values() for each in rows.values()]))
    means = 100 * np.mean([[_accuracies(rows[key], levels) for key in keys] for rows in seeds.values()], axis=0)
    table = Table(
        title="Accuracy, %, with one layer compressed",
        columns=["layer", "as it is", *levels],
        rows=[[key, *rounded([dense, *values])] for key, values in zip(keys, means, strict=True)],
        note=f"Means over {len(seeds)} seeds, no training afterwards.",
    )
    charts = [Chart(title="Accuracy lost, points", figure=_map(keys, levels, means, dense))]
    if mode != "formats":
        charts.append(Chart(title="Accuracy by share", figure=_lines(keys, row["share"], means, dense)))
    note = f"Each layer alone, {DONE[mode]}; accuracy of the whole network on {int(row['samples'])} samples."
    return Findings(title=f"Sensitivity of layers: {mode}", notes=[note], tables=[table], figures=charts)


def _levels(row: Mapping[str, Floats]) -> list[str]:
    """What was tried: shares, or formats from the longest to the shortest."""
    if "share" in row:
        return [f"{share:g}" for share in row["share"].round(6)]
    formats = [name.removeprefix(FORMAT) for name in row if name.startswith(FORMAT)]
    return sorted(formats, key=lambda name: (-int("".join(filter(str.isdigit, name))), name))


def _accuracies(row: Mapping[str, Floats], levels: list[str]) -> list[float]:
    if "accuracy" in row:
        return list(map(float, row["accuracy"]))
    return [float(row[FORMAT + level]) for level in levels]


def _map(keys: list[str], levels: list[str], means: Floats, dense: float) -> dict[str, Any]:
    """A cell for each layer and level: the darker, the more is lost."""
    lost = dense - means
    cells = {
        "type": "heatmap", "x": levels, "y": keys, "z": [rounded(row) for row in lost],
        "text": [[f"{value:.1f}" for value in row] for row in means], "texttemplate": "%{text}",
        "zmin": 0, "zmax": max(1.0, float(lost.max())), "colorscale": LOSSES, "showscale": False,
        "hovertemplate": "%{y} at %{x}: %{text} %<extra></extra>",
    }  # fmt: skip
    axes = {"xaxis": {"type": "category", "side": "top"}, "yaxis": {"autorange": "reversed"}}
    return {"data": [cells], "layout": axes}


def _lines(keys: list[str], shares: Floats, means: Floats, dense: float) -> dict[str, Any]:
    x = np.array([0.0, *shares]) if shares[0] > 0 else shares
    data = []
    for place, (key, values) in enumerate(zip(keys, means, strict=True)):
        y = np.array([dense, *values]) if shares[0] > 0 else values
        data.append(line(x, y, key.removesuffix(".weight"), COLOURS[place % len(COLOURS)], width=1.5))
    return accuracy_figure(data, {"title": {"text": "share of the layer"}, "tickformat": ".0%"}, legend=False)
