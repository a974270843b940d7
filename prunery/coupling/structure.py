"""The structure of a network: groups of units that are chosen among, what stays and why, and the edit that removes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from math import prod
from typing import Any

import torch
from jaxtyping import Bool, Int
from torch import Tensor, nn

from prunery.coupling.following import follow
from prunery.coupling.ledger import Ledger
from prunery.coupling.numbers import Use, layer_numbers, sizes_after
from prunery.layers import compressible
from prunery.sizes import macs_of

SINGLE = "all its channels are one unit"
SHARED = "its weight is another layer's, too"
UNSEEN = "the network was not seen to use it"
STAYS = -1


@dataclass(frozen=True)
class Group:
    """Units that are chosen among: the channels of one layer, or of layers whose channels only go together.

    `layers` holds by key of a weight `[out, ...]`, for each output channel, the unit it belongs to (`STAYS` if to
    none). A unit has one channel in each layer, or several (an attention head). `name` is the first of these keys.
    """

    units: Int[Tensor, " units"]
    layers: dict[str, Int[Tensor, " out"]]

    @property
    def name(self) -> str:
        """The key of the first layer."""
        return next(iter(self.layers))

    @property
    def width(self) -> int:
        """Channels of a unit in the first layer."""
        first = self.layers[self.name]
        return int((first != STAYS).sum()) // len(self)

    def __len__(self) -> int:
        return len(self.units)


Kept = Mapping[str, Bool[Tensor, " units"]]
"""By name of a group, True where a unit stays; groups left out stay whole."""


@dataclass
class Structure:
    """What may be removed from a network, and what the network is without it.

    `groups` by name, in the order of the layers' definition; `fixed`: key of a weight -> why its channels stay.
    """

    groups: dict[str, Group]
    fixed: dict[str, str]
    ledger: Ledger
    uses: list[Use]
    parameters: frozenset[str]
    macs: dict[str, int] = field(default_factory=dict)

    def without(self, names: Iterable[str], why: str) -> Structure:
        """This structure with groups that stay."""
        dropped = set(names)
        fixed = {key: why for name in dropped for key in self.groups[name].layers}
        groups = {name: group for name, group in self.groups.items() if name not in dropped}
        return Structure(groups, self.fixed | fixed, self.ledger, self.uses, self.parameters, self.macs)

    def places(self, key: str, axis: int, group: Group) -> Int[Tensor, " size"]:
        """For each index of a dimension of a tensor, the unit of the group that it goes with; `STAYS` if with none."""
        stored = self.ledger.stored.get(key)
        if stored is None or axis >= len(stored.shape):
            return torch.empty(0, dtype=torch.int64)
        first, size = stored.firsts[axis], stored.shape[axis]
        roots = self.ledger.atoms.roots(torch.arange(first, first + size))
        place = torch.searchsorted(group.units, roots).clamp_max(len(group) - 1)
        return place.masked_fill(group.units[place] != roots, STAYS)

    def gone(self, kept: Kept) -> Int[Tensor, " units"]:
        """The units that go."""
        return torch.cat(
            [torch.empty(0, dtype=torch.int64), *(self.groups[name].units[~mask] for name, mask in kept.items())]
        )

    def indices(self, gone: Int[Tensor, " units"]) -> dict[str, dict[int, Int[Tensor, " kept"]]]:
        """Key of a tensor -> dimension -> the indices that stay, wherever some go."""
        found: dict[str, dict[int, Tensor]] = {}
        for key, stored in self.ledger.stored.items():
            for axis, (first, size) in enumerate(zip(stored.firsts, stored.shape, strict=True)):
                left = ~torch.isin(self.ledger.atoms.roots(torch.arange(first, first + size)), gone)
                if not bool(left.all()):
                    found.setdefault(key, {})[axis] = left.nonzero().flatten()
        return found

    def sizes(self, kept: Kept) -> tuple[int, int]:
        """Parameters and multiply-accumulates of the network without what goes."""
        shapes = self._shapes(self.indices(self.gone(kept)))
        parameters = sum(prod(shape) for key, shape in shapes.items() if key in self.parameters)
        operations = 0
        for key, count in self.macs.items():
            before = prod(self.ledger.stored[key].shape)
            operations += count * prod(shapes[key]) // before
        return parameters, operations

    def edit(self, network: nn.Module, kept: Kept) -> dict[str, Any]:
        """The edit (`prunery.edits`, kind `channels`) that removes what goes.

        Raises `ValueError` if a layer would be emptied, or a number that a module remembers has no single new value.
        """
        gone = self.gone(kept)
        indices = self.indices(gone)
        for key, axes in indices.items():
            if any(len(left) == 0 for left in axes.values()):
                raise ValueError(f"nothing would be left of {key}")
        numbers = {name: dict(values) for name, values in self._numbers(network, self._shapes(indices), indices)}
        for name, values in sizes_after(self.ledger, self.uses, gone).items():
            numbers.setdefault(name, {}).update(values)
        keep = {key: {str(axis): left.tolist() for axis, left in axes.items()} for key, axes in indices.items()}
        return {"edit": "channels", "keep": keep, "attributes": numbers}

    def _shapes(self, indices: Mapping[str, Mapping[int, Tensor]]) -> dict[str, tuple[int, ...]]:
        return {
            key: tuple(
                len(indices[key][axis]) if axis in indices.get(key, {}) else size
                for axis, size in enumerate(stored.shape)
            )
            for key, stored in self.ledger.stored.items()
        }

    def _numbers(
        self, network: nn.Module, shapes: Mapping[str, tuple[int, ...]], changed: Iterable[str]
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        """(module, attributes) of the ordinary layers whose tensors change."""
        for name in dict.fromkeys(key.rpartition(".")[0] for key in changed):
            prefix = f"{name}." if name else ""
            own = {key.removeprefix(prefix): shape for key, shape in shapes.items() if key.rpartition(".")[0] == name}
            if values := layer_numbers(network.get_submodule(name), own):
                yield name, values


def structure_of(network: nn.Module, sample: Tensor) -> Structure:
    """What may be removed from a network, by one run with one sample; `prunery.coupling.trials` proves it."""
    ledger, uses = follow(network, sample)
    keys = [key for key, _ in compressible(network)]
    lines = {key: _line(ledger, key) for key in keys if (key, 0) in ledger.makers}
    groups = _groups(ledger, lines)
    found = {key for group in groups.values() for key in group.layers}
    fixed = {key: _why(ledger, key, lines) for key in keys if key not in found}
    parameters = frozenset(key for key, _ in network.named_parameters())
    return Structure(groups, fixed, ledger, uses, parameters, macs_of(network, sample))


def _line(ledger: Ledger, key: str) -> Int[Tensor, " out"]:
    """The units of a layer's output channels; `STAYS` where one cannot go."""
    first, size = ledger.stored[key].firsts[0], ledger.stored[key].shape[0]
    roots = ledger.atoms.roots(torch.arange(first, first + size))
    return roots.masked_fill(ledger.atoms.is_frozen(roots), STAYS)


def _groups(ledger: Ledger, lines: Mapping[str, Int[Tensor, " out"]]) -> dict[str, Group]:
    """Layers that share a unit are in one group."""
    groups: list[dict[str, Tensor]] = []
    for key, line in lines.items():
        mine = line[line != STAYS]
        if not len(mine):
            continue
        joined = {key: line}
        for other in [group for group in groups if any(torch.isin(mine, one).any() for one in group.values())]:
            groups.remove(other)
            joined = other | joined
        groups.append(joined)
    order = {key: place for place, key in enumerate(lines)}
    made = [_group({key: group[key] for key in sorted(group, key=order.__getitem__)}) for group in groups]
    return {group.name: group for group in sorted(made, key=lambda group: order[group.name]) if len(group) > 1}


def _group(lines: Mapping[str, Int[Tensor, " out"]]) -> Group:
    units = torch.cat(list(lines.values())).unique()
    units = units[units != STAYS]
    places = {key: torch.searchsorted(units, line).masked_fill(line == STAYS, STAYS) for key, line in lines.items()}
    return Group(units, places)


def _why(ledger: Ledger, key: str, lines: Mapping[str, Int[Tensor, " out"]]) -> str:
    """Why no channel of a layer can go: the first reason of its outputs, or else its inputs, or elements."""
    if key not in ledger.stored:
        return SHARED
    stored = ledger.stored[key]
    parts = [*zip(stored.firsts, stored.shape, strict=True), (stored.elements, prod(stored.shape))]
    labels = (torch.arange(first, first + size) for first, size in parts if first is not None)
    reasons = (ledger.atoms.reason(label) for part in labels for label in ledger.atoms.roots(part).unique().tolist())
    return next((reason for reason in reasons if reason), SINGLE if key in lines else UNSEEN)
