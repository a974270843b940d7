"""Networks that are plain chains of layers, run for many replicas at once by batched matrix products.

`torch.func.vmap` runs any network, but pays for its generality in every call of every step. A chain (`nn.Sequential`,
nested or not, of the layers below) is the common small network, and each of its layers has a direct form.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

POINTWISE = (nn.ReLU, nn.GELU, nn.SiLU, nn.Tanh, nn.Sigmoid, nn.ELU, nn.LeakyReLU, nn.Identity)
POOLING = (nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d)

Step = Callable[[Mapping[str, Tensor], Tensor], Tensor]


@dataclass(frozen=True)
class Chain:
    """The layers of a chain as functions of the stacked parameters and the inputs `[R, B, ...]`."""

    steps: tuple[Step, ...]

    @classmethod
    def of(cls, network: nn.Module) -> Chain | None:
        """The chain a network is, or None if it is none (or uses one tensor twice)."""
        named = [key for key, _ in network.named_parameters(remove_duplicate=False)]
        if len(named) != len(dict(network.named_parameters())):
            return None
        steps = list(_steps(network, ""))
        return None if None in steps else cls(tuple(step for step in steps if step is not None))

    def forward(
        self, parameters: Mapping[str, Tensor], inputs: Float[Tensor, "replicas batch ..."]
    ) -> Float[Tensor, "replicas batch classes"]:
        """Logits of each replica for its own batch, from the stacked parameters by key."""
        for step in self.steps:
            inputs = step(parameters, inputs)
        return inputs


def _steps(layer: nn.Module, name: str) -> Iterator[Step | None]:
    if layer._forward_hooks or layer._forward_pre_hooks:
        yield None
    elif isinstance(layer, nn.Sequential) and type(layer).forward is nn.Sequential.forward:
        for child, module in layer.named_children():
            yield from _steps(module, f"{name}{child}.")
    else:
        yield _step(layer, name)


def _step(layer: nn.Module, name: str) -> Step | None:
    """The function of one layer; exact types only, since a subclass may compute anything."""
    kind = type(layer)
    if kind is nn.Linear:
        return lambda state, inputs: linear(inputs, state[f"{name}weight"], state.get(f"{name}bias"))
    if kind is nn.Conv2d and layer.padding_mode == "zeros":
        options = {key: getattr(layer, key) for key in ("stride", "padding", "dilation", "groups")}
        return lambda state, inputs: conv2d(inputs, state[f"{name}weight"], state.get(f"{name}bias"), **options)
    if kind is nn.Flatten and (layer.start_dim, layer.end_dim) == (1, -1):
        return lambda _, inputs: inputs.flatten(2)
    if kind in POINTWISE:
        return lambda _, inputs: layer(inputs)
    if kind in POOLING:
        return lambda _, inputs: layer(inputs.flatten(0, 1)).unflatten(0, inputs.shape[:2])
    return None


def linear(
    inputs: Float[Tensor, "replicas batch ... in"],
    weight: Float[Tensor, "replicas out in"],
    bias: Float[Tensor, "replicas out"] | None,
) -> Float[Tensor, "replicas batch ... out"]:
    """A linear layer per replica, computed as `weight @ inputs^T`.

    In this orientation gradients of weights come out contiguous and the next layer reads without a copy; softmax over
    the (then strided) classes is several times faster than over a short last axis.
    """
    columns = inputs.flatten(1, -2).transpose(1, 2)
    product = torch.bmm(weight, columns) if bias is None else torch.baddbmm(bias.unsqueeze(2), weight, columns)
    rows = product.transpose(1, 2)
    return rows if inputs.dim() == 3 else rows.unflatten(1, inputs.shape[1:-1])


def conv2d(
    inputs: Float[Tensor, "replicas batch in h w"],
    weight: Float[Tensor, "replicas out per_group kh kw"],
    bias: Float[Tensor, "replicas out"] | None,
    groups: int = 1,
    **options: Any,
) -> Float[Tensor, "replicas batch out h2 w2"]:
    """A convolution per replica: one grouped convolution, the replicas side by side on the channel axis."""
    replicas = len(inputs)
    side_by_side = inputs.transpose(0, 1).flatten(1, 2)
    flat_bias = None if bias is None else bias.flatten()
    outputs = F.conv2d(side_by_side, weight.flatten(0, 1), flat_bias, groups=replicas * groups, **options)
    return outputs.unflatten(1, (replicas, -1)).transpose(0, 1)
