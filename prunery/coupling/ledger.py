"""What is known while a network runs: the labels of its tensors, and ties that wait for others."""

from __future__ import annotations

from dataclasses import replace
from itertools import accumulate
from math import prod

import torch
from jaxtyping import Int
from torch import Tensor, nn
from torch.utils.weak import WeakTensorKeyDictionary

from prunery.coupling.atoms import FREE, KEPT, Atoms
from prunery.coupling.labels import Grids, Label, Stored, thin

SPREAD = "it multiplies or shifts several channels at once"


class Ledger:
    """The labels of all tensors seen, and the atoms of a network's parameters and buffers."""

    def __init__(self, network: nn.Module) -> None:
        self.atoms = Atoms()
        self.stored: dict[str, Stored] = {}
        self.makers: dict[tuple[str, int], None] = {}
        """(key, dimension) of the weights that make channels, in the order of their use."""
        self._labels = WeakTensorKeyDictionary()
        self._waiting: list[Int[Tensor, "2 pairs"]] = []
        for key, tensor in (*network.named_parameters(), *network.named_buffers()):
            shape = tuple(tensor.shape)
            first = self.atoms.new(sum(shape))
            self.stored[key] = Stored(key, shape, tuple(accumulate(shape[:-1], initial=first)) if shape else ())
            if shape:
                self._labels[tensor] = self.stored[key].label()

    def label(self, tensor: Tensor) -> Label | None:
        """The label of a tensor; none of one that no other is known to have a part in."""
        found: Label | None = self._labels.get(tensor)
        return found

    def ids(self, tensor: Tensor) -> Int[Tensor, "..."]:
        """The label of a tensor, one number per element."""
        label = self.label(tensor)
        if label is None:
            return torch.tensor(FREE).expand(tensor.shape)
        return self.spread(label) if isinstance(label, Grids) else label

    def set(self, tensor: Tensor, label: Label) -> None:
        """Label a tensor."""
        self._labels[tensor] = label

    def roots(self, tensor: Tensor) -> Int[Tensor, "..."]:
        """The representatives of a tensor's labels, repetitions left as they are."""
        ids = self.ids(tensor)
        return self.atoms.roots(thin(ids)[0]).expand(ids.shape)

    def spread(self, label: Grids) -> Int[Tensor, "..."]:
        """One number per element of a parameter: its only dimension's, or an atom of its own."""
        stored = self.stored[label.key]
        wide = [axis for axis, size in enumerate(stored.shape) if size > 1]
        if len(wide) < 2:
            return label.grids[wide[0]] if wide else torch.tensor(FREE).expand(label.shape)
        if stored.elements is None:
            stored = replace(stored, elements=self.atoms.new(prod(stored.shape)))
            self.stored[label.key] = stored
        strides = [prod(stored.shape[axis + 1 :]) for axis in range(len(stored.shape))]
        steps = zip(label.grids, stored.firsts, strides, strict=True)
        places = sum(((grid - first) * stride for grid, first, stride in steps), torch.tensor(0))
        return places + (stored.elements or 0)

    def freeze(self, label: Label | None, why: str) -> None:
        """Say that what a label names cannot go."""
        for part in label.grids if isinstance(label, Grids) else () if label is None else (label,):
            self.atoms.freeze(thin(part)[0], why)
        if isinstance(label, Grids) and self.stored[label.key].elements is not None:
            self.atoms.freeze(self.spread(label), why)

    def make(self, grid: Int[Tensor, " channels"]) -> None:
        """Note that a dimension of a weight makes channels; `grid` has its atoms, or some of them."""
        atom = int(grid[0])
        for key, stored in self.stored.items():
            for axis, (first, size) in enumerate(zip(stored.firsts, stored.shape, strict=True)):
                if first <= atom < first + size:
                    self.makers[key, axis] = None

    def wait(self, atoms: Int[Tensor, "..."], partners: Int[Tensor, "..."]) -> None:
        """Note that atoms meet partners, several each perhaps: they are tied if all partners turn out to be one."""
        pairs = torch.stack([part.reshape(-1) for part in torch.broadcast_tensors(*thin(atoms, partners))])
        pairs = pairs[:, (pairs[0] > KEPT) & (pairs[1] != FREE)].unique(dim=1)
        if pairs.shape[1]:
            self._waiting.append(pairs)

    # --- when the run is over ----------------------------------------------------------------------------------------

    def settle(self) -> None:
        """Decide the ties that waited, and say which dimension of a parameter its single elements go with."""
        before = -1
        while before != self.atoms.ties:
            before = self.atoms.ties
            self._tie_waiting()
            for stored in self.stored.values():
                self._tie_elements(stored)
        self._give_up_waiting()

    def _tie_waiting(self) -> None:
        for pairs in self._waiting:
            atoms, partners = pairs[0], self.atoms.roots(pairs[1])
            low, high = _extremes(atoms, partners)
            self.atoms.unite(atoms[low == high], partners[low == high], SPREAD)

    def _give_up_waiting(self) -> None:
        for pairs in self._waiting:
            low, high = _extremes(pairs[0], self.atoms.roots(pairs[1]))
            self.atoms.freeze(pairs[0][low != high], SPREAD)

    def _tie_elements(self, stored: Stored) -> None:
        """A parameter whose elements met values goes with them along one dimension, or not at all."""
        if stored.elements is None:
            return
        elements = torch.arange(stored.elements, stored.elements + prod(stored.shape)).reshape(stored.shape)
        roots = self.atoms.roots(elements)
        met = roots != elements  # an element that met nothing represents itself
        met |= torch.isin(roots, roots[met])
        if not met.any():
            return
        for axis, (first, size) in enumerate(zip(stored.firsts, stored.shape, strict=True)):
            others = [other for other in range(len(stored.shape)) if other != axis]
            high = roots.masked_fill(~met, FREE).amax(others, keepdim=True)
            if size > 1 and bool(((roots == high) | ~met).all()) and len(high.unique()) > 1:
                line = torch.arange(first, first + size)
                self.atoms.unite(line, high.reshape(-1), SPREAD)
                return
        self.atoms.freeze(roots[met], SPREAD)


def _extremes(atoms: Int[Tensor, " pairs"], partners: Int[Tensor, " pairs"]) -> tuple[Tensor, Tensor]:
    """For each pair, the least and the greatest partner that its atom has."""
    _, places = atoms.unique(return_inverse=True)
    low, high = (
        torch.zeros(int(places.max()) + 1, dtype=torch.int64).scatter_reduce(
            0, places, partners, way, include_self=False
        )
        for way in ("amin", "amax")
    )
    return low[places], high[places]
