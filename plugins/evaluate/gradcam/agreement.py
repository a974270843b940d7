"""How alike the maps of two networks are, image by image and on the mean."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from scipy.stats import rankdata
from torch import Tensor, nn

from prunery.reporting.statistics import mean_interval

from .core import activation_maps, layer_name

if TYPE_CHECKING:
    from . import GradCamSettings

Floats = NDArray[np.float64]
Pair = tuple[Float[Tensor, "batch height width"], Float[Tensor, "batch height width"]]


def figures(
    network: nn.Module, dense: nn.Module, batches: Iterable[tuple[Tensor, Tensor]], settings: GradCamSettings
) -> dict[str, float]:
    """Agreement over (inputs, labels): see `GradCam.figures`."""
    scores: dict[str, list[Floats]] = {"cam_correlation": [], "cam_overlap": []}
    blank = samples = 0
    looked = True
    for inputs, labels in batches:
        pair = maps(network, dense, inputs, labels, settings)
        samples += len(labels)
        if pair is None:
            looked = False
            continue
        a, b = (each.flatten(1).double().cpu().numpy() for each in pair)
        told = (np.ptp(a, axis=1) > 0) & (np.ptp(b, axis=1) > 0)
        blank += int((~told).sum())
        scores["cam_correlation"].append(rank_correlations(a[told], b[told]))
        scores["cam_overlap"].append(overlaps(a[told], b[told], settings.top))
    found = {"cam_blank": blank / samples} if looked else {}
    for name, parts in scores.items():
        found |= _with_interval(name, np.concatenate(parts) if parts else np.empty(0))
    return {**found, "samples": samples}


def maps(
    network: nn.Module, dense: nn.Module, inputs: Tensor, labels: Tensor, settings: GradCamSettings
) -> Pair | None:
    """The maps of both networks; None where there is no layer to look at."""
    if inputs.dim() != 4:
        return None
    name = layer_name(dense, inputs[:1], settings.layer)
    if name is None:
        return None
    with torch.no_grad():
        expected = dense(inputs).argmax(dim=1)
        chosen = expected if dense is network or settings.target != "own" else network(inputs).argmax(dim=1)
    if settings.target == "label":
        expected = chosen = labels
    before = activation_maps(dense, name, inputs, expected)
    return before if dense is network else activation_maps(network, name, inputs, chosen), before


def rank_correlations(a: Floats, b: Floats) -> Floats:
    """Spearman's rho of every pair of rows, ties at their mean rank; no row may be constant."""
    ranked = (rankdata(rows, axis=1) if rows.size else rows for rows in (a, b))
    first, second = (rows - rows.mean(axis=1, keepdims=True) for rows in ranked)
    return np.asarray((first * second).sum(axis=1) / np.sqrt((first**2).sum(axis=1) * (second**2).sum(axis=1)))


def overlaps(a: Floats, b: Floats, top: float) -> Floats:
    """The share of the brightest pixels of one row that are among the brightest of the other; by chance it is `top`."""
    count = max(1, round(top * a.shape[1]))
    bright = []
    for rows in (a, b):
        held = np.zeros(rows.shape, dtype=bool)
        np.put_along_axis(held, np.argsort(-rows, axis=1, kind="stable")[:, :count], True, axis=1)
        bright.append(held)
    return np.asarray((bright[0] & bright[1]).sum(axis=1) / count)


def _with_interval(name: str, values: Floats) -> dict[str, float]:
    """The mean over images and the ends of its Student's t interval; nothing without images, no ends of one."""
    if not len(values):
        return {}
    found = mean_interval(values)
    ends = {"low": found.low, "high": found.high}
    return {name: found.mean, **{f"{name}_{end}": value for end, value in ends.items() if value is not None}}
