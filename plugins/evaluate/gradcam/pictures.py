"""Input, the dense network's map and the compressed network's as small PNG images."""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from prunery.findings import Gallery, Picture, Sample
from prunery.network import device

from .agreement import maps, overlaps, rank_correlations

if TYPE_CHECKING:
    from prunery.data import Dataset

    from . import GradCamSettings

Pixels = NDArray[np.uint8]
LARGEST = 96
"""Pixels a side; larger images are made smaller."""
HEAT = np.array([[0, 0, 4], [81, 18, 124], [183, 55, 121], [252, 137, 97], [252, 253, 191]], dtype=np.float64)
"""Colours from nothing to the map's maximum: dark to bright, also for those who see few colours."""


def gallery(network: nn.Module, dense: nn.Module, dataset: Dataset, settings: GradCamSettings) -> Gallery | None:
    """The first of the drawn test images; none of data that are no images, or where there is no layer to look at."""
    shown = dataset.test.head(settings.shown)
    if dataset.kind != "image" or not len(shown):
        return None
    inputs = dataset.network_inputs(shown.inputs).to(device())
    found = maps(network, dense, inputs, shown.labels.to(device()), settings)
    if found is None:
        return None
    with torch.no_grad():
        logits = network(inputs), dense(inputs)
    guesses = [[dataset.classes[int(guess)] for guess in each.argmax(dim=1)] for each in logits]
    own, before = (each.cpu() for each in found)
    samples = []
    for number, (image, label) in enumerate(zip(shown.inputs, shown.labels, strict=True)):
        shared = [_picture("input", coloured(image)), _picture("dense", overlaid(image, before[number]))]
        told = _told(own[number], before[number], settings.top)
        mine = [] if network is dense else [_picture("map", overlaid(image, own[number]))]
        caption = f"{dataset.classes[int(label)]}; the dense network says {guesses[1][number]}"
        guess = f"says {guesses[0][number]}"
        samples.append(Sample(caption=caption, shared=shared, own=mine, told=f"{guess}; {told}"))
    return Gallery(title="Where networks look (Grad-CAM)", about=_about(settings), samples=samples)


def _about(settings: GradCamSettings) -> str:
    explained = {"dense": "the class that the dense network predicts", "label": "the true class"}
    return (
        f"Maps of {explained.get(settings.target, 'the class that each network predicts')} at "
        f"{settings.layer or 'the last convolution'}, brightest where most speaks for it. Beside each: Spearman's rho "
        f"with the dense network's map, and the share of the brightest {settings.top:.0%} of the pixels that both have."
    )


def _told(own: Tensor, before: Tensor, top: float) -> str:
    a, b = (each.flatten()[None].double().numpy() for each in (own, before))
    if np.ptp(a) == 0 or np.ptp(b) == 0:
        return "a blank map"
    return f"rho {float(rank_correlations(a, b)[0]):.2f}, {float(overlaps(a, b, top)[0]):.0%} in common"


def coloured(image: Tensor) -> Pixels:
    """Stored uint8 `[channels, height, width]` as `[height, width, 3]`; gray of the first unless there are three."""
    channels = image if image.shape[0] == 3 else image[:1].expand(3, -1, -1)
    return np.ascontiguousarray(channels.permute(1, 2, 0).numpy())


def overlaid(image: Tensor, found: Tensor) -> Pixels:
    """A map in colours over the gray image, half and half; the map's maximum has the brightest colour."""
    gray = coloured(image).mean(axis=2, keepdims=True)
    values = found.double().numpy()
    scaled = values / max(float(values.max()), 1e-12)
    places = np.linspace(0, 1, len(HEAT))
    heat = np.stack([np.interp(scaled, places, HEAT[:, channel]) for channel in range(3)], axis=2)
    return (0.5 * gray + 0.5 * heat).round().astype(np.uint8)


def _picture(title: str, pixels: Pixels) -> Picture:
    image = Image.fromarray(pixels)
    image.thumbnail((LARGEST, LARGEST), Image.Resampling.BICUBIC)
    file = io.BytesIO()
    image.save(file, "PNG", optimize=True)
    return Picture(title=title, png=base64.b64encode(file.getvalue()).decode("ascii"))
