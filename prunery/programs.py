"""Which networks are trained as one batched program.

A step of a program costs its arithmetic and, whatever its size, the time of the calls that start it. Small networks
cost little but calls, so replicas share a program, and so do chains of one form and different sizes, padded with zeros
to the largest, as long as the padding costs less than the calls it saves. Large networks gain nothing from company and
lose their place in the cache: their programs hold few replicas.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce

import torch
from torch import nn

from prunery.chains import Chain
from prunery.replicas import Ensemble, Single
from prunery.stacked import Stacked, alike

Shape = Mapping[int, nn.Module]
"""Replicas of one architecture by seed."""


@dataclass(frozen=True)
class Cost:
    """What decides how networks are put together; `prices` has the figures of a kind of device."""

    calls: float
    """Seconds that the calls of a training step take, per layer with parameters."""
    parameter: float
    """Seconds of arithmetic per parameter and step, at a batch of 100."""
    largest: int
    """Parameters of a program, all replicas and padding counted, above which it is split by seeds."""


def prices(device: torch.device) -> Cost:
    """Measured on a CPU with AVX-512 and 32 MiB of L3 cache, which two million parameters fill with their gradients and
    moments; those of a GPU are estimates from its peaks."""
    if device.type == "cuda":
        return Cost(calls=4e-4, parameter=1e-10, largest=2**30)
    return Cost(calls=2e-4, parameter=1e-8, largest=2**21)


@dataclass(frozen=True)
class Program:
    """A grid of networks trained as one: `members` are indices of shapes, `networks` go seed by seed."""

    members: tuple[int, ...]
    seeds: tuple[int, ...]
    networks: tuple[nn.Module, ...]
    stacked: bool

    def __len__(self) -> int:
        return len(self.networks)

    def ensemble(self, device: torch.device) -> Ensemble:
        """The networks behind one interface."""
        return Stacked(self.networks, device) if self.stacked else Single(self.networks[0], device)


def programs(shapes: Sequence[Shape], batched: bool, device: torch.device) -> list[Program]:
    """Every network of every shape in one program each. All shapes have the same seeds.

    `batched` says that replicas may be stacked; those that differ in structure are trained one by one all the same.
    """
    found: list[Program] = []
    stackable = [index for index, shape in enumerate(shapes) if batched and alike(list(shape.values()))]
    for members in _together(shapes, stackable, device):
        found += _split(shapes, members, device)
    for index in sorted({*range(len(shapes))} - {*stackable}):
        found += [Program((index,), (seed,), (network,), False) for seed, network in shapes[index].items()]
    return found


def ensembles(networks: Sequence[nn.Module], batched: bool, device: torch.device) -> list[Ensemble]:
    """The networks as one `Stacked` where that is asked for and possible, else as a `Single` each, in order."""
    if batched and len(networks) > 1 and alike(networks):
        return [Stacked(networks, device)]
    return [Single(network, device) for network in networks]


def _split(shapes: Sequence[Shape], members: tuple[int, ...], device: torch.device) -> Iterator[Program]:
    """The program of these members, in parts of as many seeds as its size allows."""
    seeds = list(shapes[members[0]])
    replica = len(members) * _count(reduce(_union, (_sizes(shapes[member]) for member in members)))
    share = _even(max(1, prices(device).largest // replica))
    for start in range(0, len(seeds), share):
        own = tuple(seeds[start : start + share])
        networks = tuple(shapes[member][seed] for seed in own for member in members)
        yield Program(members, own, networks, len(networks) > 1)


def _even(share: int) -> int:
    """A number of seeds, at most `share`, that cores divide among themselves without one waiting for the other."""
    step = next((step for step in (4, 2) if share >= step), 1)
    return share - share % step


# --- which shapes share a program ------------------------------------------------------------------------------------

Sizes = tuple[tuple[int, ...], ...]
"""The shapes of a network's parameters."""


@dataclass
class _Group:
    """Shapes that share a program; `sizes` are those that every member is padded to."""

    members: list[int]
    sizes: Sizes
    form: tuple[str, ...] | None

    def padding(self, other: Sizes) -> int:
        """Zeros that one more member adds, in its own network and in those of the others."""
        both = _union(self.sizes, other)
        return (len(self.members) + 1) * _count(both) - len(self.members) * _count(self.sizes) - _count(other)


def _together(shapes: Sequence[Shape], stackable: Sequence[int], device: torch.device) -> list[tuple[int, ...]]:
    """Groups of shapes: from the largest down, each joins the group it costs least, or opens one of its own."""
    cost = prices(device)
    groups: list[_Group] = []
    for index in sorted(stackable, key=lambda index: -_count(_sizes(shapes[index]))):
        own, form = _sizes(shapes[index]), _form(next(iter(shapes[index].values())))
        saved = cost.calls * len(own) / 2  # a weight and a bias per layer
        open_to_it = [group for group in groups if form is not None and group.form == form]
        added = {id(group): cost.parameter * group.padding(own) * len(shapes[index]) for group in open_to_it}
        best = min(open_to_it, key=lambda group: added[id(group)], default=None)
        if best is not None and added[id(best)] < saved:
            best.members.append(index)
            best.sizes = _union(best.sizes, own)
        else:
            groups.append(_Group([index], own, form))
    return [tuple(sorted(group.members)) for group in groups]


def _form(network: nn.Module) -> tuple[str, ...] | None:
    """What networks that may be padded to a common size have in common; None for one that may not.

    Beside the form of the chain: the type of every tensor, whether it is trained, and the number of outputs.
    """
    chain, values = Chain.of(network), list(network.parameters())
    if chain is None or not chain.pads or list(network.buffers()):
        return None
    return (*chain.form, *(f"{value.dtype} {value.requires_grad}" for value in values), f"{len(values[-1])} outputs")


def _sizes(shape: Shape) -> Sizes:
    return tuple(tuple(parameter.shape) for parameter in next(iter(shape.values())).parameters())


def _union(one: Sizes, other: Sizes) -> Sizes:
    return tuple(tuple(map(max, a, b)) for a, b in zip(one, other, strict=True))


def _count(sizes: Sizes) -> int:
    return sum(map(math.prod, sizes))
