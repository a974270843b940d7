"""Networks that are plain chains of layers, run for many replicas at once by batched matrix products.

`torch.func.vmap` runs any network, but pays for its generality in every call of every step. A chain (`nn.Sequential`,
nested or not, of the layers below) is the common small network, and each of its layers has a direct form. Chains of one
form but of different sizes can share a program too: padded with zeros, the smaller ones learn as if they were alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

ZERO_AT_ZERO = (nn.ReLU, nn.GELU, nn.SiLU, nn.Tanh, nn.ELU, nn.LeakyReLU, nn.Identity)
POINTWISE = (*ZERO_AT_ZERO, nn.Sigmoid)
POOLING = (nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d)

CHANNELS, UNITS = "channels", "units"

Step = Callable[[Mapping[str, Tensor], Tensor], Tensor]


@dataclass(frozen=True)
class Link:
    """One layer of a chain: a function of the stacked parameters and the inputs.

    `form` says what it computes but for its numbers of units and channels. `pads` is whether units padded with zeros
    stay zero through training: their outputs, and the gradients of all their weights. `axis` is where a layer that
    cares looks for units: last, or in front of other axes (channels, which flattening leaves in order).
    """

    run: Step
    form: str
    pads: bool
    axis: str = ""


@dataclass(frozen=True)
class Chain:
    """The layers of a chain, in order."""

    links: tuple[Link, ...]

    @classmethod
    def of(cls, network: nn.Module) -> Chain | None:
        """The chain a network is, or None if it is none (or uses one tensor twice)."""
        named = [key for key, _ in network.named_parameters(remove_duplicate=False)]
        if len(named) != len(dict(network.named_parameters())):
            return None
        links = list(_links(network, ""))
        return None if None in links else cls(tuple(link for link in links if link is not None))

    @property
    def form(self) -> tuple[str, ...]:
        """What it computes: chains of one form differ in their numbers of units and channels only."""
        return tuple(link.form for link in self.links)

    @property
    def pads(self) -> bool:
        """Whether networks of this form may be padded with zeros to a common size and trained as one.

        A `Linear` puts its units last: flattened afterwards, or pooled, they would lie between those of other places.
        """
        axes = [link.axis for link in self.links if link.axis]
        return all(link.pads for link in self.links) and axes == sorted(axes, key=(CHANNELS, UNITS).index)

    def forward(
        self, parameters: Mapping[str, Tensor], inputs: Float[Tensor, "seeds batch ..."]
    ) -> Float[Tensor, "replicas batch classes"]:
        """Logits of each replica, from the stacked parameters by key.

        With fewer inputs than replicas, each serves as many replicas, those beside each other.
        """
        for link in self.links:
            inputs = link.run(parameters, inputs)
        return inputs


def _links(layer: nn.Module, name: str) -> Iterator[Link | None]:
    if layer._forward_hooks or layer._forward_pre_hooks or "forward" in vars(layer):
        yield None
    elif _is_sequence(layer):
        for child, module in layer._modules.items():  # `named_children` would leave out one that stands there twice
            yield from _links(module, f"{name}{child}.") if module is not None else [None]
    else:
        yield _link(layer, name)


def _is_sequence(layer: nn.Module) -> bool:
    """Whether a layer does nothing but call its children in turn, and has no values of its own."""
    kind = type(layer)
    plain = kind.forward is nn.Sequential.forward and kind.__call__ is nn.Module.__call__
    return isinstance(layer, nn.Sequential) and plain and not layer._parameters and not layer._buffers


def _link(layer: nn.Module, name: str) -> Link | None:
    """The function of one layer; exact types only, since a subclass may compute anything."""
    kind = type(layer)
    if kind is nn.Linear:
        return Link(
            lambda state, inputs: linear(inputs, state[f"{name}weight"], state.get(f"{name}bias")),
            f"{name}linear, bias {layer.bias is not None}",
            pads=True,
            axis=UNITS,
        )
    if kind is nn.Conv2d and layer.padding_mode == "zeros":
        options = {key: getattr(layer, key) for key in ("stride", "padding", "dilation", "groups")}
        return Link(
            lambda state, inputs: conv2d(inputs, state[f"{name}weight"], state.get(f"{name}bias"), **options),
            f"{name}conv2d {layer.kernel_size}, bias {layer.bias is not None}, {options}",
            pads=options["groups"] == 1,
            axis=CHANNELS,
        )
    if kind is nn.Flatten and (layer.start_dim, layer.end_dim) == (1, -1):
        return Link(lambda _, inputs: inputs.flatten(2), _plain(layer), pads=True, axis=CHANNELS)
    if kind in POINTWISE:
        return Link(lambda _, inputs: layer(inputs), _plain(layer), pads=kind in ZERO_AT_ZERO)
    if kind in POOLING:
        return Link(
            lambda _, inputs: layer(inputs.flatten(0, 1)).unflatten(0, inputs.shape[:2]),
            _plain(layer),
            pads=True,
            axis=CHANNELS,
        )
    return None


def _plain(layer: nn.Module) -> str:
    """The form of a layer without parameters: all of its arguments, of which its `repr` may leave some out."""
    arguments = {key: value for key, value in vars(layer).items() if not key.startswith("_") and key != "training"}
    return f"{type(layer).__name__} {arguments}"


def linear(
    inputs: Float[Tensor, "seeds batch ... in"],
    weight: Float[Tensor, "replicas out in"],
    bias: Float[Tensor, "replicas out"] | None,
) -> Float[Tensor, "replicas batch ... out"]:
    """A linear layer per replica, computed as `weight @ inputs^T`; replicas that share inputs as one taller matrix.

    In this orientation gradients of weights come out contiguous and the next layer reads without a copy; softmax over
    the (then strided) classes is several times faster than over a short last axis.
    """
    replicas, units, features = weight.shape
    columns = inputs.flatten(1, -2).transpose(1, 2)
    tall = weight.reshape(len(inputs), -1, features)
    if bias is None:
        product = torch.bmm(tall, columns)
    else:
        product = torch.baddbmm(bias.reshape(len(inputs), -1, 1), tall, columns)
    rows = product.reshape(replicas, units, -1).transpose(1, 2)
    return rows if inputs.dim() == 3 else rows.unflatten(1, inputs.shape[1:-1])


def conv2d(
    inputs: Float[Tensor, "seeds batch in h w"],
    weight: Float[Tensor, "replicas out per_group kh kw"],
    bias: Float[Tensor, "replicas out"] | None,
    groups: int = 1,
    **options: Any,
) -> Float[Tensor, "replicas batch out h2 w2"]:
    """A convolution per replica: one grouped convolution, the inputs side by side on the channel axis."""
    replicas = len(weight)
    if groups > 1:  # channels of one group must lie together, so inputs cannot be shared
        inputs = inputs.repeat_interleave(replicas // len(inputs), dim=0)
    side_by_side = inputs.transpose(0, 1).flatten(1, 2)
    flat_bias = None if bias is None else bias.flatten()
    outputs = F.conv2d(side_by_side, weight.flatten(0, 1), flat_bias, groups=len(inputs) * groups, **options)
    return outputs.unflatten(1, (replicas, -1)).transpose(0, 1)
