"""Gradient-weighted class activation maps (Selvaraju et al. 2017), of rounded networks too."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from fnmatch import fnmatchcase
from math import isqrt
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from prunery.errors import PruneryError, unknown
from prunery.folding import batch_norm_pairs

WHERE = "evaluate 'gradcam', layer"


# --- which layer -----------------------------------------------------------------------------------------------------


def layer_name(dense: nn.Module, example: Tensor, asked: str | None) -> str | None:
    """The module of the dense network whose output is looked at; None if it has no convolution and none is asked for.

    Of those whose names fit `asked`, the one that runs last; without it the convolution that runs last, or the batch
    norm right behind it: folding a norm into its layer keeps the norm's place and its output, but not the layer's.
    """
    ran = _ran(dense, example)
    if asked is None:
        last = next((name for name, kind in reversed(ran) if issubclass(kind, nn.Conv2d)), None)
        return None if last is None else dict(batch_norm_pairs(dense, example)).get(last, last)
    found = [name for name, _ in ran if fnmatchcase(name, asked)]
    if not found:
        raise PruneryError(f"{WHERE}: {unknown('module', asked, [name for name, _ in ran])}")
    return found[-1]


def _ran(network: nn.Module, example: Tensor) -> list[tuple[str, type[nn.Module]]]:
    """Name and class of every module that ran, in the order in which they ended."""
    ran: list[tuple[str, type[nn.Module]]] = []

    def noting(name: str) -> Any:
        return lambda module, inputs, output: ran.append((name, type(module)))

    handles = [module.register_forward_hook(noting(name)) for name, module in network.named_modules() if name]
    try:
        with torch.no_grad():
            network(example)
    finally:
        for handle in handles:
            handle.remove()
    return ran


# --- maps ------------------------------------------------------------------------------------------------------------


def activation_maps(
    network: nn.Module, name: str, inputs: Float[Tensor, "batch channels height width"], classes: Int[Tensor, " batch"]
) -> Float[Tensor, "batch height width"]:
    """Maps of `classes` at the module `name`, at the resolution of the inputs: zero where nothing speaks for the class.

    L = ReLU(sum_k a_k A_k), with A the module's output and a_k the mean over positions of dy_c / dA_k, y_c the logit of
    the class (Selvaraju et al. 2017, equations 1 and 2); enlarged bilinearly. Token sequences are read as a square
    grid behind any class tokens. Raises `PruneryError` if the network has no such module, or its output is no map.
    """
    activations, gradients = _at(network, name, inputs, classes)
    importance = gradients.mean(dim=(2, 3), keepdim=True)
    maps = F.relu((importance * activations).sum(dim=1, keepdim=True))
    return F.interpolate(maps, size=inputs.shape[-2:], mode="bilinear", align_corners=False)[:, 0]


def _at(network: nn.Module, name: str, inputs: Tensor, classes: Tensor) -> tuple[Tensor, Tensor]:
    """A module's output as maps `[batch, k, h, w]`, and the gradients of the classes' logits there."""
    caught: list[Tensor] = []

    def catch(module: nn.Module, args: Any, output: Any) -> Tensor:
        if not isinstance(output, Tensor):
            raise PruneryError(f"{WHERE}: {name} gives no single tensor: name a module that does")
        caught[:] = [output.detach().requires_grad_()]  # gradients end here, whatever lies before
        return caught[0].clone()  # an activation in place behind it must not reach what was caught

    if name not in dict(network.named_modules()):
        raise PruneryError(f"{WHERE}: the compressed network has no {name} any more: name a module that both have")
    handle = network.get_submodule(name).register_forward_hook(catch)
    try:
        with torch.enable_grad(), _constant(network), StraightThrough():
            logits = network(inputs).gather(1, classes[:, None]).sum()
            gradient = torch.autograd.grad(logits, caught[0], allow_unused=True)[0]
    finally:
        handle.remove()
    activation = caught[0].detach()
    gradient = torch.zeros_like(activation) if gradient is None else gradient
    return as_maps(activation, name), as_maps(gradient, name)


def as_maps(output: Tensor, name: str) -> Float[Tensor, "batch k h w"]:
    """Feature maps as they are; tokens `[batch, tokens, k]` as a square grid behind the class tokens, if any."""
    if output.dim() == 4:
        return output
    if output.dim() != 3:
        raise PruneryError(f"{WHERE}: the output of {name} has the shape {list(output.shape)}, no map: name another")
    side = isqrt(output.shape[1])
    return output[:, -side * side :].transpose(1, 2).unflatten(2, (side, side))


@contextmanager
def _constant(network: nn.Module) -> Iterator[None]:
    """Parameters that want no gradient, so that the layers before the caught one record nothing."""
    wanting = [parameter for parameter in network.parameters() if parameter.requires_grad]
    try:
        for parameter in wanting:
            parameter.requires_grad_(False)
        yield
    finally:
        for parameter in wanting:
            parameter.requires_grad_(True)


# --- gradients through rounding --------------------------------------------------------------------------------------


class StraightThrough(TorchFunctionMode):
    """Rounding passes gradients as the identity does (Bengio et al. 2013); values stay those of the integers.

    A grid's ends are clamps, which pass nothing beyond them by themselves.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Called in the place of every torch function."""
        if func in (torch.round, Tensor.round) and not kwargs and args[0].requires_grad:
            return _Round.apply(args[0])
        return func(*args, **(kwargs or {}))


class _Round(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, values: Tensor) -> Tensor:
        return torch.round(values)

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> Tensor:
        return gradient
