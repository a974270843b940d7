"""The layers of the one-convolution network."""

from __future__ import annotations

from collections import OrderedDict

from torch import nn


def convolutional(shape: tuple[int, int, int], channels: int, kernel: int, classes: int, std: float) -> nn.Sequential:
    """Layers `conv`, `relu`, `flatten`, `output` for images of `shape` (C, H, W).

    Kernels: normal with standard deviation sqrt(2 / (channels * kernel**2)) (He, fan out); `output`: normal with
    `std`; biases 0.
    """
    inputs, height, width = shape
    conv = nn.Conv2d(inputs, channels, kernel)
    output = nn.Linear(channels * (height - kernel + 1) * (width - kernel + 1), classes)
    nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
    nn.init.normal_(output.weight, std=std)
    for layer in (conv, output):
        nn.init.zeros_(layer.bias)
    return nn.Sequential(OrderedDict(conv=conv, relu=nn.ReLU(), flatten=nn.Flatten(), output=output))
