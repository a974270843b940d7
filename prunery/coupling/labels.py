"""Labels: for each element of a value the atom it vanishes with; for each element of a parameter one per dimension."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor

from prunery.coupling.atoms import FREE, Atoms


@dataclass(frozen=True)
class Grids:
    """A parameter or buffer, or a view of one: per dimension of the stored tensor, the atoms of the view's elements.

    Each grid has the view's shape; those of a stored tensor vary along their own dimension only and take no memory.
    """

    key: str
    grids: tuple[Int[Tensor, "..."], ...]

    def map(self, change: Callable[[Tensor], Tensor]) -> Grids:
        """The grids of a view."""
        return Grids(self.key, tuple(map(change, self.grids)))

    @property
    def shape(self) -> torch.Size:
        """The view's shape."""
        return self.grids[0].shape


Label = Tensor | Grids


@dataclass(frozen=True)
class Stored:
    """A parameter or buffer of the network: the first atom of each of its dimensions, and of its single elements.

    Elements need atoms of their own where a tensor of several dimensions is added to values (`elements`, None so far).
    """

    key: str
    shape: tuple[int, ...]
    firsts: tuple[int, ...]
    elements: int | None = None

    def label(self) -> Grids:
        """The label of the whole tensor."""
        grids = []
        for axis, (first, size) in enumerate(zip(self.firsts, self.shape, strict=True)):
            line = torch.arange(first, first + size)
            grids.append(line.reshape([-1 if other == axis else 1 for other in range(len(self.shape))]))
        return Grids(self.key, tuple(grid.expand(self.shape) for grid in grids))


def thin(*labels: Tensor) -> tuple[Tensor, ...]:
    """Labels of one shape without the repetitions they have in common: 64 channels, not 64 x 112 x 112 elements."""
    for axis in range(labels[0].dim()):
        if labels[0].shape[axis] > 1 and all(label.stride(axis) == 0 for label in labels):
            labels = tuple(label.narrow(axis, 0, 1) for label in labels)
    return labels


def varies(label: Int[Tensor, "..."], axis: int) -> bool:
    """Whether the labels differ along an axis."""
    if label.shape[axis] < 2 or label.stride(axis) == 0:
        return False
    (label,) = thin(label)
    return not torch.equal(label, label.narrow(axis, 0, 1).expand(label.shape))


def varying(label: Int[Tensor, "..."]) -> set[int]:
    """The axes along which labels differ."""
    return {axis for axis in range(label.dim()) if varies(label, axis)}


def representatives(label: Int[Tensor, "..."], axes: Sequence[int], unknown: int = FREE) -> Tensor:
    """One label for each index of the other axes (kept with size 1 along `axes`): any that is no constant's."""
    for axis in axes:
        label = label.narrow(axis, 0, 1) if label.stride(axis) == 0 else label.amax(axis, keepdim=True)
    return label.masked_fill(label == FREE, unknown)


def unite_along(atoms: Atoms, label: Int[Tensor, "..."], axes: Sequence[int], why: str) -> Tensor:
    """Tie the labels that differ only by their place along `axes`; returns one of each, `FREE` where all are."""
    (label,) = thin(label)
    found = representatives(label, axes)
    atoms.unite(label, found.expand(label.shape), why)
    return found
