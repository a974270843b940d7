"""Layers that begin as W = S + R: S of low rank, R Gaussian noise."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn


def spiked_weight(width: int, strengths: Sequence[float], g: float) -> Float[Tensor, "width width"]:
    """S + R with R_ij drawn from N(0, g / width), and S of singular values sqrt(g) * strengths.

    S has singular vectors that are uniformly distributed; without noise (g 0) its singular values are the strengths.
    Drawn from torch's global generator.
    """
    noise = math.sqrt(g / width) * torch.randn(width, width)
    left, right = (torch.linalg.qr(torch.randn(width, len(strengths))).Q for _ in range(2))
    values = (math.sqrt(g) or 1.0) * torch.tensor(list(strengths), dtype=noise.dtype)
    return noise + (left * values) @ right.T


def spiked_perceptron(inputs: int, classes: int, settings: Any) -> nn.Sequential:
    """Layers `fc`, `spiked1`, ..., `output` with ReLU between them.

    All but the spiked ones begin normal as in He et al. 2015, biases 0.
    """
    modules: OrderedDict[str, nn.Module] = OrderedDict(flatten=nn.Flatten())
    modules["fc"], modules["relu"] = _normal(nn.Linear(inputs, settings.width)), nn.ReLU()
    for number in range(1, settings.layers + 1):
        layer = nn.Linear(settings.width, settings.width)
        layer.weight.data.copy_(spiked_weight(settings.width, settings.strengths, settings.g))
        nn.init.zeros_(layer.bias)
        modules[f"spiked{number}"], modules[f"relu{number}"] = layer, nn.ReLU()
    modules["output"] = _normal(nn.Linear(settings.width, classes))
    return nn.Sequential(modules)


def _normal(layer: nn.Linear) -> nn.Linear:
    nn.init.normal_(layer.weight, std=math.sqrt(2 / layer.in_features))
    nn.init.zeros_(layer.bias)
    return layer
