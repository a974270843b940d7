"""What products mean for labels: convolutions, linear maps, embeddings, and products of two values (attention)."""

from __future__ import annotations

import torch
from jaxtyping import Int
from torch import Tensor

from prunery.coupling.atoms import FREE, KEPT
from prunery.coupling.labels import Grids, representatives, thin, unite_along, varies
from prunery.coupling.ledger import Ledger
from prunery.coupling.operators import Call, everywhere, pointwise, rule

READ = "its channels are read together with values that stay"
COMPUTED = "its weight, or one that reads its channels, is computed from others"
ACROSS = "it runs along an axis that is no channel"


@rule("convolution", "_convolution", "cudnn_convolution")
def convolved(ledger: Ledger, call: Call) -> None:
    """A weight `[out, in / groups, ...]`, or `[in, out / groups, ...]` transposed; of groups, whole ones go."""
    values, weight, bias = call.args[:3]
    label, grids = ledger.ids(values), ledger.label(weight)
    if not isinstance(grids, Grids) or not _is_whole(ledger, grids):
        return _computed(ledger, call)
    groups, transposed = call.argument("groups", 1), call.argument("transposed", False)
    if groups > 1 and transposed:
        return _computed(ledger, call)
    found = unite_along(ledger.atoms, label, [axis for axis in range(label.dim()) if axis != 1], READ).reshape(-1)
    found = found.masked_fill(found == FREE, KEPT)
    out, into = _line(grids, int(transposed)), _line(grids, 1 - int(transposed))
    if groups == 1:
        ledger.atoms.unite(found, into, READ)
    else:
        inputs, outputs = (unite_along(ledger.atoms, part.reshape(groups, -1), [1], READ) for part in (found, out))
        ledger.atoms.unite(inputs, outputs, READ)
    ledger.make(out)
    if bias is not None:
        ledger.atoms.unite(ledger.ids(bias), out, READ)
    shape = [-1 if axis == 1 else 1 for axis in range(label.dim())]
    ledger.set(call.result, out.reshape(shape).expand(call.result.shape))


def _line(grids: Grids, axis: int) -> Int[Tensor, " size"]:
    """The atoms of one dimension of a stored tensor."""
    grid = grids.grids[axis]
    return grid[(0,) * axis + (slice(None),) + (0,) * (grid.dim() - axis - 1)]


def _is_whole(ledger: Ledger, grids: Grids) -> bool:
    """Whether a view of a parameter is the parameter as it is stored."""
    whole = ledger.stored[grids.key].label()
    pairs = zip(grids.grids, whole.grids, strict=True)
    return grids.shape == whole.shape and all(torch.equal(*thin(*pair)) for pair in pairs)


def _computed(ledger: Ledger, call: Call) -> None:
    for tensor in call.tensors():
        ledger.freeze(ledger.label(tensor), COMPUTED)
    ledger.set(call.result, everywhere(KEPT, call.result.shape))


@rule("embedding")
def embedded(ledger: Ledger, call: Call) -> None:
    """Rows of a table `[entries, width]`."""
    grids = ledger.label(call.args[0])
    if not isinstance(grids, Grids) or not _is_whole(ledger, grids):
        return _computed(ledger, call)
    width = _line(grids, 1)
    ledger.make(width)
    ledger.set(call.result, width.expand(call.result.shape))


# --- matrices --------------------------------------------------------------------------------------------------------


@rule("mm", "bmm", "dot", "mv")
def multiplied(ledger: Ledger, call: Call) -> None:
    """Values and a weight, or values and values."""
    one, other = call.args[:2]
    if one.dim() < 2 or other.dim() < 2:
        return _computed(ledger, call)
    ledger.set(call.result, _product(ledger, one, other, call.result))


@rule("addmm", "baddbmm")
def added(ledger: Ledger, call: Call) -> None:
    """A product, and a bias that meets it element by element."""
    bias, one, other = call.args[:3]
    product = torch.empty_like(call.result)
    ledger.set(product, _product(ledger, one, other, call.result))
    pointwise(ledger, Call(torch.ops.aten.add.Tensor, (product, bias), {}, call.result))


def _product(ledger: Ledger, one: Tensor, other: Tensor, result: Tensor) -> Int[Tensor, "..."]:
    """The label of a product of matrices, or of stacks of them."""
    weights = [isinstance(ledger.label(part), Grids) for part in (one, other)]
    if weights == [False, True] and (grids := _matrix(ledger, other)):
        return _mapped(ledger, ledger.ids(one), *grids).expand(result.shape)
    if weights == [True, False] and (grids := _matrix(ledger, one)):
        flipped = ledger.ids(other).transpose(-1, -2)
        return _mapped(ledger, flipped, *(grid.T for grid in grids)).transpose(-1, -2).expand(result.shape)
    if any(weights) and ledger.label(one if weights[0] else other) is not None:
        for part in (one, other):
            ledger.freeze(ledger.label(part), COMPUTED)
        return everywhere(KEPT, result.shape)
    return _attended(ledger, ledger.roots(one), ledger.roots(other)).expand(result.shape)


def _matrix(ledger: Ledger, weight: Tensor) -> list[Int[Tensor, "in out"]] | None:
    """The grids of a weight as one matrix for all of a stack; None if it is not one."""
    label = ledger.label(weight)
    assert isinstance(label, Grids)
    grids = list(label.grids)
    if weight.dim() == 3:
        if any(varies(grid, 0) for grid in grids):
            return None
        grids = [grid[0] for grid in grids]
    return grids if len(grids) == 2 and all(sum(varies(grid, axis) for axis in (0, 1)) < 2 for grid in grids) else None


def _mapped(
    ledger: Ledger, values: Int[Tensor, "... rows in"], *grids: Int[Tensor, "in out"]
) -> Int[Tensor, "... rows out"]:
    """Values times a weight: columns of values go with its rows, and its columns make new channels."""
    roots = ledger.atoms.roots(thin(values)[0]).expand(values.shape)
    axis = values.dim() - 1
    if not varies(roots, axis) and any(varies(roots, other) for other in range(axis)):
        for grid in grids:
            ledger.atoms.freeze(thin(grid)[0], ACROSS)
        return roots.narrow(axis, 0, 1)
    found = unite_along(ledger.atoms, values, range(axis), READ).reshape(-1)
    into = next((grid[:, 0] for grid in grids if varies(grid, 0)), None)
    out = next((grid[0] for grid in grids if varies(grid, 1)), None)
    if into is None:
        ledger.atoms.freeze(found, READ)
    else:
        ledger.atoms.unite(found.masked_fill(found == FREE, KEPT), into, READ)
    if out is None:
        return everywhere(KEPT, (1,))
    ledger.make(out)
    return out


def _attended(
    ledger: Ledger, one: Int[Tensor, "... rows inner"], other: Int[Tensor, "... inner columns"]
) -> Int[Tensor, "..."]:
    """Values times values: each matrix of a stack goes as a whole, with all that goes into it (a head)."""
    for fixed, moving, axis in ((one, other, -2), (other, one, -1)):
        if bool((thin(fixed)[0] <= KEPT).all()) and not varies(moving, moving.dim() + axis):
            return moving.narrow(axis, 0, 1)
    axes = [one.dim() - 2, one.dim() - 1]
    whole = [unite_along(ledger.atoms, part, axes, READ) for part in (one, other)]
    ledger.atoms.unite(whole[0], whole[1], READ)
    return representatives(torch.stack([part.expand(*part.shape[:-2], 1, 1) for part in whole]), [0])[0]
