"""Batch norms that follow a layer directly, and what becomes of the layer when they are folded into it.

In evaluation mode a batch norm is one factor and one shift per channel. Runtimes merge it into the layer before it
only while the weights are floating point, so it is folded before a network is quantized, and before the ranges of
its activations are measured.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from prunery.watching import Watch, watched

Pair = tuple[str, str]


def batch_norm_pairs(network: nn.Module, example: Tensor) -> list[Pair]:
    """(layer, batch norm) by module name, wherever only the norm uses the layer's output, and has no other input.

    Layers are `Conv2d` before `BatchNorm2d`, and `Linear` before `BatchNorm1d` over its features. One pass in
    evaluation mode with `example` finds out; the network is left as it was.
    """
    norms = {name: module for name, module in network.named_modules() if _is_foldable(module)}
    if not norms:
        return []
    layers = {name: module for name, module in network.named_modules() if isinstance(module, nn.Conv2d | nn.Linear)}
    watch = _Watch()
    hooks = [layer.register_forward_hook(watch.after_layer(name)) for name, layer in layers.items()]
    for name, norm in norms.items():
        hooks += [norm.register_forward_pre_hook(watch.before_norm(name)), norm.register_forward_hook(watch.after)]
    watched(network, example, watch, hooks)
    single = {layer: next(iter(users)) for layer, users in watch.users.items() if len(users) == 1}
    return [(layer, norm) for layer, norm in single.items() if norm and watch.sources[norm] == {layer}]


def _is_foldable(module: nn.Module) -> bool:
    """Plain batch norms with stored statistics, and those that only put an activation behind themselves (timm's)."""
    if not isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d) or module.running_mean is None:
        return False
    return type(module) in (nn.BatchNorm1d, nn.BatchNorm2d) or hasattr(module, "act")


class _Watch(Watch):
    """Notes which norm, or else what ("" then), uses each watched output, and where each norm's inputs come from."""

    def __init__(self) -> None:
        super().__init__()
        self.users: dict[str, set[str]] = {}
        self.sources: dict[str, set[str]] = {}
        self.inside = False

    def after_layer(self, name: str) -> Any:
        """A hook that watches this layer's output."""

        def hook(layer: nn.Module, inputs: Any, output: Tensor) -> None:
            self.outputs[self.keep(output)] = name
            self.users.setdefault(name, set())
            if isinstance(layer, nn.Linear) and output.dim() != 2:
                self.users[name].add("")  # a norm over the second axis, which is not the features

        return hook

    def before_norm(self, name: str) -> Any:
        """A hook that notes where this norm's input comes from."""

        def hook(norm: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            source = self.outputs.get(id(inputs[0]), "")
            self.sources.setdefault(name, set()).add(source)
            if source:
                self.users[source].add(name)
            self.inside = True

        return hook

    def after(self, norm: nn.Module, inputs: Any, output: Tensor) -> None:
        """A hook for the end of a norm."""
        self.inside = False

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Called in the place of every torch function."""
        kwargs = kwargs or {}
        for source in set() if self.inside else self.used(func, args, kwargs):
            self.users[source].add("")
        return func(*args, **kwargs)


def fold(network: nn.Module, pair: Pair) -> None:
    """Fold one batch norm into the layer before it, in place; the layer gains a bias if it has none.

    The norm's place is taken by what it did beside normalising: nothing, or its activation.
    """
    layer, norm = (network.get_submodule(name) for name in pair)
    assert isinstance(layer, nn.Conv2d | nn.Linear)
    assert isinstance(norm, nn.BatchNorm1d | nn.BatchNorm2d)
    factor, shift = _affine(norm)
    with torch.no_grad():
        bias = torch.zeros_like(shift) if layer.bias is None else layer.bias
        layer.bias = nn.Parameter((shift + bias * factor).to(layer.weight.dtype))
        layer.weight.mul_(factor.reshape(-1, *[1] * (layer.weight.dim() - 1)))
    owner, _, name = pair[1].rpartition(".")
    setattr(network.get_submodule(owner), name, _remainder(norm))


def _affine(norm: nn.BatchNorm1d | nn.BatchNorm2d) -> tuple[Float[Tensor, " channels"], Float[Tensor, " channels"]]:
    """Factor and shift of each channel."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    factor = torch.rsqrt(norm.running_var + norm.eps)
    factor = factor if norm.weight is None else factor * norm.weight
    shift = -norm.running_mean * factor
    return factor.detach(), (shift if norm.bias is None else shift + norm.bias).detach()


def _remainder(norm: nn.Module) -> nn.Module:
    parts = [getattr(norm, name) for name in ("drop", "act") if hasattr(norm, name)]
    return nn.Sequential(*parts) if parts else nn.Identity()


def folded(network: nn.Module, example: Tensor) -> nn.Module:
    """A copy whose batch norms are folded wherever they can be; the network itself where there are none."""
    pairs = batch_norm_pairs(network, example)
    if not pairs:
        return network
    copied = copy.deepcopy(network)
    for pair in pairs:
        fold(copied, pair)
    return copied


def folded_like(network: nn.Module, dense: nn.Module, example: Tensor) -> nn.Module:
    """The dense network with the batch norms folded that are folded in the compressed one; itself if there are none."""
    if dense is network:
        return dense
    modules = dict(network.named_modules())
    pairs = [pair for pair in batch_norm_pairs(dense, example) if not _is_norm(modules.get(pair[1]))]
    if not pairs:
        return dense
    copied = copy.deepcopy(dense)
    for pair in pairs:
        fold(copied, pair)
    return copied


def _is_norm(module: nn.Module | None) -> bool:
    return isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d)
