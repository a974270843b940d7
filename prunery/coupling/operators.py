"""What operators mean for labels, all but products; each rule is called after the operator has run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor
from torch.utils._pytree import tree_leaves

from prunery.coupling.atoms import FREE, KEPT
from prunery.coupling.labels import Grids, thin, varies, varying
from prunery.coupling.ledger import Ledger

ADDED = "its channels are added to or multiplied with values that stay"
MIXED = "an operator takes all its channels together"


@dataclass(frozen=True)
class Call:
    """One call of an operator and what it returned."""

    function: Any
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    result: Any

    @property
    def name(self) -> str:
        """The operator's name without its namespace; `relu` for `relu_` too."""
        name = str(self.function._schema.name).partition("::")[2]
        return name.removesuffix("_")

    def argument(self, name: str, default: Any = None) -> Any:
        """An argument by the name that the operator's schema gives it."""
        for place, argument in enumerate(self.function._schema.arguments):
            if argument.name == name:
                given = self.args[place] if place < len(self.args) else self.kwargs.get(name)
                return default if given is None else given
        return default

    def tensors(self) -> list[Tensor]:
        """The tensors that go in."""
        return [leaf for leaf in tree_leaves((self.args, self.kwargs)) if isinstance(leaf, Tensor)]

    def results(self) -> list[Tensor]:
        """The tensors that come out."""
        return [leaf for leaf in tree_leaves(self.result) if isinstance(leaf, Tensor)]


Rule = Callable[[Ledger, Call], None]
RULES: dict[str, Rule] = {}
"""Operator -> its rule; those absent are told by their properties (`rule_of`)."""


def rule(*names: str) -> Callable[[Rule], Rule]:
    """Register a rule for operators."""

    def register(function: Rule) -> Rule:
        RULES.update(dict.fromkeys(names, function))
        return function

    return register


def rule_of(call: Call) -> Rule:
    """The rule of an operator: its own, or that of its kind, or that of what is not known."""
    if call.name in RULES:
        return RULES[call.name]
    if call.function.is_view:
        return rearranged
    if torch.Tag.pointwise in call.function.tags:
        return pointwise
    return unknown


def unknown(ledger: Ledger, call: Call) -> None:
    """Nothing that takes part in an operator without a rule may go."""
    why = f"the operator {call.name} is not followed"
    for tensor in call.tensors():
        ledger.freeze(ledger.label(tensor), why)
    for result in call.results():
        ledger.set(result, everywhere(KEPT, result.shape))


@rule("new_zeros", "new_ones", "new_full", "new_empty")
def constant(ledger: Ledger, call: Call) -> None:
    """A new tensor of constants; its label may be written to, as the values may."""
    for result in call.results():
        ledger.set(result, torch.full(result.shape, FREE))


def everywhere(label: int, shape: Sequence[int]) -> Int[Tensor, "..."]:
    """One label for every element; it takes no memory."""
    return torch.tensor(label).expand(tuple(shape))


# --- the same elements in another order ------------------------------------------------------------------------------


@rule("clone", "_unsafe_view", "_reshape_alias", "roll", "flip", "index", "index_select", "gather", "repeat",
      "reflection_pad1d", "reflection_pad2d", "replication_pad2d", "pixel_shuffle", "pixel_unshuffle",
      "channel_shuffle", "im2col", "lift_fresh", "_to_copy", "native_dropout", "cat", "stack")  # fmt: skip
def rearranged(ledger: Ledger, call: Call) -> None:
    """The operator itself, run on the labels of its first argument."""
    source = call.args[0]
    if isinstance(source, Tensor):
        label = ledger.label(source)
        if isinstance(label, Grids) and call.result is not None:
            parts = [_moved(call, grid) for grid in label.grids]
            for place, result in enumerate(call.results()):
                ledger.set(result, Grids(label.key, tuple(part[place] for part in parts)))
            return
        moved = _moved(call, ledger.ids(source))
    else:
        moved = _moved(call, _beside(ledger, call))
    for result, part in zip(call.results(), moved, strict=True):
        ledger.set(result, part)


def _moved(call: Call, source: Any) -> list[Tensor]:
    """The results of a call with labels in the place of its first argument."""
    first = call.results()[0]
    if call.name in ("view", "_unsafe_view", "_reshape_alias", "reshape"):
        return [source.reshape(first.shape)]
    if call.name in ("_to_copy", "clone", "native_dropout", "lift_fresh"):
        return [source.expand(first.shape) for _ in call.results()]
    try:
        return tree_leaves(call.function(source, *call.args[1:], **call.kwargs))
    except (RuntimeError, NotImplementedError):  # some kernels know floating point only, which is exact up to 2^53
        moved = call.function(torch.as_tensor(source).double(), *call.args[1:], **call.kwargs)
        return [part.long() for part in tree_leaves(moved)]


def _beside(ledger: Ledger, call: Call) -> list[Tensor]:
    """The labels of tensors that are put side by side: constants beside channels are places that stay."""
    labels, axis = [ledger.ids(tensor) for tensor in call.args[0]], call.argument("dim", 0)
    if call.name == "cat" and any(label.numel() and varies(label, axis) for label in labels):
        return [everywhere(KEPT, label.shape) if bool((thin(label)[0] == FREE).all()) else label for label in labels]
    return labels


@rule("zeros_like", "ones_like", "full_like", "empty_like", "rand_like", "randn_like")
def shaped_alike(ledger: Ledger, call: Call) -> None:
    """Constants, as many as there are elements in another tensor: they vanish with those."""
    ledger.set(call.result, ledger.ids(call.args[0]))


@rule("constant_pad_nd")
def padded(ledger: Ledger, call: Call) -> None:
    """Padding is constant; along channels it is places that stay."""
    label, pads = ledger.ids(call.args[0]), call.args[1]
    axes = {label.dim() - 1 - place // 2 for place, size in enumerate(pads) if size}
    filling = KEPT if axes & varying(label) else FREE
    ledger.set(call.result, torch.constant_pad_nd(label, pads, filling))


@rule("as_strided")
def restrided(ledger: Ledger, call: Call) -> None:
    """A view told by its place in memory: the labels are laid out as the values are."""
    source = call.args[0]
    label = torch.empty_strided(source.shape, source.stride(), dtype=torch.int64).copy_(ledger.ids(source))
    offset = call.result.storage_offset() - source.storage_offset()
    ledger.set(call.result, label.as_strided(call.result.shape, call.result.stride(), offset))


@rule("copy")
def copied(ledger: Ledger, call: Call) -> None:
    """Values written over others, in a part of a tensor perhaps: its label is written to in the same place."""
    target, source = call.args[0], call.args[1]
    label = ledger.ids(target)
    if isinstance(ledger.label(target), Tensor) and 0 not in label.stride()[: label.dim()]:
        label.copy_(ledger.ids(source).expand(label.shape))
    else:
        ledger.freeze(ledger.label(source), MIXED)
        ledger.freeze(ledger.label(target), MIXED)


# --- element by element ----------------------------------------------------------------------------------------------


@rule("hardswish", "masked_fill", "fill", "_prelu_kernel", "threshold", "zero")
def pointwise(ledger: Ledger, call: Call) -> None:
    """What meets element by element goes together; what is repeated over channels belongs to none of them."""
    result = call.results()[0]
    operands = [tensor for tensor in call.tensors() if ledger.label(tensor) is not None]
    full = {index: ledger.roots(tensor).expand(result.shape) for index, tensor in enumerate(operands)}
    repeated = {index: _repeated(operands[index], result) for index in full}
    for index in _across(ledger, operands, full, repeated):
        ledger.freeze(ledger.label(operands[index]), ADDED)
        del full[index]
    axes = {axis for label in full.values() for axis in varying(label)}
    carriers = [index for index in full if not repeated[index] & axes]
    if full and not carriers:
        for label in full.values():
            ledger.atoms.freeze(thin(label)[0], MIXED)
    label = _together(ledger, [full[index] for index in carriers]) if carriers else everywhere(KEPT, result.shape)
    for index in full:
        if index not in carriers:
            ledger.wait(full[index], label)
    for each in call.results() if full else ():
        ledger.set(each, label if each.shape == label.shape else everywhere(KEPT, each.shape))


def _repeated(tensor: Tensor, result: Tensor) -> set[int]:
    """The axes along which a tensor is repeated to fit the result."""
    shape = (1,) * (result.dim() - tensor.dim()) + tuple(tensor.shape)
    return {axis for axis, size in enumerate(shape) if size == 1 and result.shape[axis] > 1}


def _across(
    ledger: Ledger, operands: list[Tensor], full: dict[int, Tensor], repeated: dict[int, set[int]]
) -> list[int]:
    """Parameters whose elements lie across the channels (a bias per token): nothing of them goes."""
    parameters = [index for index in full if isinstance(ledger.label(operands[index]), Grids)]
    values = {axis for index, label in full.items() if index not in parameters for axis in varying(label)}
    return [index for index in parameters if values & repeated[index] and varying(full[index]) - values]


def _together(ledger: Ledger, labels: list[Tensor]) -> Int[Tensor, "..."]:
    """The label of values that meet element by element; constants take that of what they meet."""
    first, *others = labels
    for other in others:
        mine, its = thin(first, other)
        ledger.atoms.unite(mine, its, ADDED)
        first = torch.where(mine == FREE, its, mine).expand(first.shape)
    return first


@rule("glu")
def gated(ledger: Ledger, call: Call) -> None:
    """Each channel of the first half goes with its gate in the second."""
    halves = ledger.ids(call.args[0]).chunk(2, call.argument("dim", -1))
    ledger.set(call.result, _together(ledger, list(halves)))
