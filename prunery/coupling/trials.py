"""The proof that channels were removed rightly: a network without them computes what it does with them at zero.

Proofs run on copies in double precision, filled with random numbers: trained or freshly drawn values may be so small
that a fault would not show. Statistics of layer norms count, in the copy with zeros, the channels that are left.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from prunery.coupling.structure import Kept, Structure, structure_of
from prunery.edits import cut_channels

CRASHED = "the network did not run without one of its channels"
FAILED = "a trial removal gave other outputs"
TOLERANCE = 1e-6
"""Largest difference, in units of the largest output; double precision leaves about 1e-12."""


def proved_structure(network: nn.Module, samples: Tensor) -> Structure:
    """What may be removed from a network: groups whose trial removal fails are left out.

    `samples` are two inputs or more, on the CPU. Values of parameters count for nothing, so replicas of one shape have
    one structure.
    """
    structure = structure_of(network, samples[:1])
    single = copy.deepcopy(network).cpu().eval()
    runs = _proved(_alike_together(structure.groups), lambda names: _runs(single, structure, names, samples[:1]))
    double, inputs = scrambled(network), in_double(samples)
    good = _proved(runs, lambda names: _try(double, structure, names, inputs))
    return structure.without(set(structure.groups) - set(runs), CRASHED).without(set(runs) - set(good), FAILED)


def _alike_together(names: Iterable[str]) -> list[str]:
    """Names that differ in numbers only, such as those of a network's blocks, next to each other: they fare alike."""
    return sorted(names, key=lambda name: re.sub(r"\d+", "", name))


def _proved(names: list[str], works: Callable[[list[str]], bool], doubted: bool = False) -> list[str]:
    """The groups that can be removed from, together, found by halves.

    Where nothing of the first half can go, the second is `doubted`: tried group by group, as it is likely to fail.
    Of k groups in a row that fail, this takes about k trials, and without it 2 k.
    """
    if not names or ((len(names) == 1 or not doubted) and works(names)):
        return names
    if len(names) == 1:
        return []
    middle = len(names) // 2
    first = _proved(names[:middle], works, doubted)
    second = _proved(names[middle:], works, not first)
    both = [*first, *second]
    return both if not (first and second) or works(both) else max(first, second, key=len)


def _runs(network: nn.Module, structure: Structure, names: list[str], inputs: Tensor) -> bool:
    """Whether the network runs without the first unit of these groups: most of those that fail do so here, cheaply."""
    kept = {name: torch.arange(len(structure.groups[name])) > 0 for name in names}
    try:
        with torch.no_grad():
            _removed(network, structure, kept)(inputs)
    except Exception:  # as in `comes_out_right`
        return False
    return True


def _try(double: nn.Module, structure: Structure, names: list[str], inputs: Tensor) -> bool:
    """Whether removals from these groups come out right: of every first unit, and of some drawn at random."""
    generator = torch.Generator().manual_seed(0)
    first, drawn = {}, {}
    for name in names:
        count = len(structure.groups[name])
        first[name] = torch.arange(count) > 0
        drawn[name] = torch.rand(count, generator=generator) > 0.3
        drawn[name][torch.randint(count, (1,), generator=generator)] = True
    return all(comes_out_right(double, structure, kept, inputs) is None for kept in (first, drawn))


def comes_out_right(double: nn.Module, structure: Structure, kept: Kept, inputs: Tensor) -> str | None:
    """None if the network without what goes computes what it does with it at zero, else what is wrong."""
    try:
        with torch.no_grad():
            found = _removed(double, structure, kept)(inputs)
            with CountLeft():
                wanted = zeroed(copy.deepcopy(double), structure, kept)(inputs)
    except Exception as error:  # foreign forward functions may fail in any way on shapes they do not expect
        return f"{type(error).__name__}: {error}"
    apart = float((found - wanted).abs().max() / wanted.abs().max().clamp_min(1e-300))
    return None if apart <= TOLERANCE else f"outputs differ by {apart:.1g} of the largest"


def _removed(network: nn.Module, structure: Structure, kept: Kept) -> nn.Module:
    """The network without what goes; what stays whole it shares with the original."""
    tensors = (*network.parameters(), *network.buffers())
    modules = copy.deepcopy(network, {id(tensor): tensor for tensor in tensors})
    return cut_channels(modules, structure.edit(network, kept))


def in_double(samples: Tensor) -> Tensor:
    """Samples as copies in double precision take them."""
    return samples.double() if samples.is_floating_point() else samples


@torch.no_grad()
def scrambled(network: nn.Module) -> nn.Module:
    """A copy in double precision with random parameters: matrices normal over fan in, the rest normal around 1."""
    double = copy.deepcopy(network).cpu().double().eval()
    generator = torch.Generator().manual_seed(0)
    for parameter in double.parameters():
        noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
        wide = parameter.dim() > 1
        parameter.copy_(noise / parameter[0].numel() ** 0.5 if wide else 1 + 0.3 * noise)
    return double


@torch.no_grad()
def zeroed(network: nn.Module, structure: Structure, kept: Kept) -> nn.Module:
    """The network, in place, with zeros wherever a parameter would lose something."""
    parameters = dict(network.named_parameters())
    for key, axes in structure.indices(structure.gone(kept)).items():
        for axis, left in axes.items() if key in parameters else ():
            lost = torch.ones(parameters[key].shape[axis], dtype=torch.bool)
            lost[left] = False
            parameters[key].index_fill_(axis, lost.nonzero().flatten(), 0.0)
    return network


class CountLeft(TorchDispatchMode):
    """Layer norms (and group norms of a single group) that leave out channels whose scale is zero."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Called in the place of every operator."""
        name = func._schema.name
        if name == "aten::native_layer_norm" and args[2] is not None and bool((args[2] == 0).any()):
            return _normed(args[0], args[2], args[3], args[4], tuple(range(-len(args[1]), 0)))
        if name == "aten::native_group_norm" and args[6] == 1 and args[1] is not None and bool((args[1] == 0).any()):
            shape = [-1] + [1] * (args[0].dim() - 2)
            scale, shift = (None if part is None else part.reshape(shape) for part in args[1:3])
            return _normed(args[0], scale, shift, args[7], tuple(range(1, args[0].dim())))
        return func(*args, **(kwargs or {}))


def _normed(values: Tensor, scale: Any, shift: Any, eps: float, axes: tuple[int, ...]) -> tuple[Tensor, Tensor, Tensor]:
    """What the operator returns: values of mean 0 and variance 1 over what is left, scaled and shifted."""
    left = (scale != 0).to(values.dtype).expand(values.shape)
    count = left.sum(axes, keepdim=True)
    mean = (values * left).sum(axes, keepdim=True) / count
    inverse = torch.rsqrt(((values - mean).square() * left).sum(axes, keepdim=True) / count + eps)
    normed = (values - mean) * inverse * scale
    return (normed if shift is None else normed + shift), mean, inverse
