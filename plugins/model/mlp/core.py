"""The perceptron's layers and their widths."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Sequence
from itertools import pairwise

from torch import nn


def hidden_widths(depth: int, width: int, shape: Sequence[str], factor: float) -> tuple[int, ...]:
    """Units of each of `depth` hidden layers: `width`, then changed as `shape` says (rounded up, so at least 1)."""
    scale = {"increase": factor, "decrease": 1 / factor, "equal": 1.0}
    widths = [width]
    for change in shape or ["equal"] * (depth - 1):
        widths.append(math.ceil(widths[-1] * scale[change]))
    return tuple(widths)


def perceptron(inputs: int, widths: Sequence[int], classes: int, std: float | None) -> nn.Sequential:
    """Layers `fc1`, `relu1`, ..., `output`. Weights are normal with mean 0, biases 0.

    `std` None: sqrt(2 / inputs of the layer), which keeps the variance of ReLU networks (He et al. 2015).
    """
    modules: OrderedDict[str, nn.Module] = OrderedDict(flatten=nn.Flatten())
    for number, (before, after) in enumerate(pairwise([inputs, *widths]), start=1):
        modules[f"fc{number}"] = _normal(nn.Linear(before, after), std)
        modules[f"relu{number}"] = nn.ReLU()
    modules["output"] = _normal(nn.Linear(widths[-1], classes), std)
    return nn.Sequential(modules)


def _normal(layer: nn.Linear, std: float | None) -> nn.Linear:
    nn.init.normal_(layer.weight, std=std or math.sqrt(2 / layer.in_features))
    nn.init.zeros_(layer.bias)
    return layer
