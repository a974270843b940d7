"""What a network computes inside: which places can be read, by name or by rule, and how they are read as it runs.

A feature has one form whatever layer it belongs to: `[B, channels, ...]`, the channels on axis 1, behind them places
(pixels, tokens, or none).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from prunery.errors import PruneryError, unknown
from prunery.stored import StoredConv2d, StoredWeight

WEIGHTED = (nn.Linear, nn.Conv2d, StoredWeight)
CONVOLUTIONS = (nn.Conv2d, StoredConv2d)

Side = Literal["input", "output"]


@dataclass(frozen=True)
class Feature:
    """A place in a network: what `layer` reads or gives. `shape` is `(channels, *places)` of one sample."""

    layer: str
    side: Side
    shape: tuple[int, ...]
    channels_last: bool

    @property
    def channels(self) -> int:
        """How many."""
        return self.shape[0]

    @property
    def places(self) -> tuple[int, ...]:
        """The axes behind the channels."""
        return self.shape[1:]

    def of(self, value: Float[Tensor, "batch ..."]) -> Float[Tensor, "batch channels ..."]:
        """A tensor that the network computed there, in the form of a feature, in fp32."""
        return (value.movedim(-1, 1) if self.channels_last else value).float()


# --- which there are -------------------------------------------------------------------------------------------------


def hidden(network: nn.Module, example: Tensor, whose: str = "network") -> list[Feature]:
    """What each `Linear` and `Conv2d` reads, in the order they run; the first one is left out if it reads the images.

    The last one is the penultimate feature: what the logits are made of. Of a layer that runs twice, the last run
    counts; what is no tensor with a row per sample (windows of an image, say) is left out.
    `example` has two samples or more. Raises `PruneryError` if there is none, saying whose: the network's name.
    """
    names = [name for name, layer in network.named_modules() if name and isinstance(layer, WEIGHTED)]
    found = []
    for name, value in _run(network, example, "input", names).items():
        channels_last = not isinstance(network.get_submodule(name), CONVOLUTIONS)
        found.append(_feature(name, "input", value, channels_last, len(example)))
    first = int(example.is_floating_point())
    if not (features := [feature for feature in found[first:] if feature is not None]):
        raise PruneryError(f"features: the {whose} has no hidden Linear or Conv2d to read: choose a deeper model")
    return features


def named(network: nn.Module, example: Tensor, patterns: Sequence[str], whose: str = "network") -> list[Feature]:
    """What the modules give whose names the patterns (as in a shell) match, in the order they run.

    Maps `[B, C, H, W]` count as channels first, other tensors as channels last (`[B, tokens, C]`).
    Raises `PruneryError` if a pattern matches nothing that runs, or something that gives no such tensor, saying whose.
    """
    names = [name for name, _ in network.named_modules() if name]
    ran = _run(network, example, "output", names)
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in ran):
            raise PruneryError(f"features of the {whose}: {unknown('layer that runs', pattern, ran)}")
    chosen = [name for name in ran if any(fnmatchcase(name, pattern) for pattern in patterns)]
    return [_checked(name, ran[name], len(example), whose) for name in chosen]


def _checked(name: str, value: Any, batch: int, whose: str) -> Feature:
    channels_last = not (isinstance(value, Tensor) and value.dim() == 4)
    feature = _feature(name, "output", value, channels_last, batch)
    if feature is None:
        raise PruneryError(
            f"features of the {whose}: layer {name!r} gives no tensor of 2 to 4 axes per batch: name another layer"
        )
    return feature


def _feature(name: str, side: Side, value: Any, channels_last: bool, batch: int) -> Feature | None:
    fits = isinstance(value, Tensor) and value.is_floating_point() and 2 <= value.dim() <= 4 and len(value) == batch
    if not fits:
        return None
    sizes = tuple(value.shape[1:])
    return Feature(name, side, (sizes[-1], *sizes[:-1]) if channels_last else sizes, channels_last)


@torch.no_grad()
def _run(network: nn.Module, example: Tensor, side: Side, names: Sequence[str]) -> dict[str, Any]:
    """What these layers read or give for an example, in the order they run; the network is left as it was."""
    training = network.training
    place = next(network.parameters(), example).device
    try:
        with listening(network, [(name, side) for name in names]) as heard:
            network.eval()(example.to(place))
    finally:
        network.train(training)
    return {name: value for (name, _), value in heard.items()}


# --- reading them ----------------------------------------------------------------------------------------------------


@contextmanager
def listening(network: nn.Module, wanted: Sequence[tuple[str, Side]]) -> Iterator[dict[tuple[str, Side], Any]]:
    """While it lasts, what the network's layers read and give is put into the dictionary, in the order they run."""
    heard: dict[tuple[str, Side], Any] = {}
    handles = []
    for name, side in dict.fromkeys(wanted):
        layer = network.get_submodule(name)
        if side == "input":
            reader = _reader(heard, name)  # before other hooks: one may put the channels into the layer's own order
            handles.append(layer.register_forward_pre_hook(reader, with_kwargs=True, prepend=True))
        else:
            handles.append(layer.register_forward_hook(_listener(heard, name)))
    try:
        yield heard
    finally:
        for handle in handles:
            handle.remove()


def _reader(heard: dict[tuple[str, Side], Any], name: str) -> Callable[..., None]:
    def note(layer: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        heard.pop((name, "input"), None)
        heard[name, "input"] = args[0] if args else next(iter(kwargs.values()))

    return note


def _listener(heard: dict[tuple[str, Side], Any], name: str) -> Callable[..., None]:
    def note(layer: nn.Module, inputs: Any, output: Any) -> None:
        heard.pop((name, "output"), None)
        heard[name, "output"] = output

    return note
