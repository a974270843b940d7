"""Channel pruning: a method chooses units, this module takes them out of every tensor, or holds them at zero."""

from __future__ import annotations

import copy
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from prunery.checkpoint import Replica
from prunery.contract import ChannelPruner, Measured
from prunery.coupling.ranking import channel_layers
from prunery.coupling.structure import Kept, Structure
from prunery.coupling.trials import comes_out_right, in_double, proved_structure, scrambled
from prunery.data import Spec
from prunery.edits import Edit, add_masks, cut_channels, mask_edit
from prunery.errors import PruneryError, unknown
from prunery.layers import layer_of
from prunery.permuting import ORDER
from prunery.simulating import simulating_layers

SAMPLES = 2


class Surgeon:
    """Removes channels from replicas; those alike share the search for what goes together."""

    def __init__(self, spec: Spec) -> None:
        self.samples = spec.random(SAMPLES, torch.Generator().manual_seed(0))
        self._structures: dict[str, Structure] = {}

    def structure(self, network: nn.Module) -> Structure:
        """What may be removed from a network."""
        orders = [order.tolist() for key, order in network.named_buffers() if key.endswith(ORDER)]
        shape = f"{network!r} {[(key, tuple(value.shape)) for key, value in network.state_dict().items()]} {orders}"
        if shape not in self._structures:
            self._structures[shape] = proved_structure(network, self.samples)
        return self._structures[shape]

    def operate(
        self, method: ChannelPruner, parent: Replica, measured: Measured, generator: torch.Generator, who: str
    ) -> Replica:
        """A replica without the channels that the method does not keep.

        Raises `PruneryError` if nothing can be removed, the answer does not fit, or the removal does not come out.
        """
        network = copy.deepcopy(parent.network)
        structure = self.structure(network)
        if not structure.groups:
            raise PruneryError(f"{who}: no channel of this network can be removed ({_reason(network, structure)}")
        layers = channel_layers(network, structure, measured, self.samples)
        kept = method.keep(structure, layers, measured, generator)
        _check_untouched(network, parent.network, who)
        _check_kept(kept, structure, who)
        wrong = comes_out_right(scrambled(network), structure, kept, in_double(self.samples))
        if wrong is not None:
            raise PruneryError(f"{who}: these channels cannot go together ({wrong}): exclude a layer or remove less")
        edits = _hold_at_zero(network, structure, kept) if method.zeroes else _remove(network, structure, kept)
        return Replica(network, [*parent.edits, *edits])


def _reason(network: nn.Module, structure: Structure) -> str:
    """Why nothing can go, and what to do."""
    if next(simulating_layers(network), None) is not None:
        return "its layers simulate quantization, which hides what goes together): put this step before that training"
    key, why = next(iter(structure.fixed.items()), ("the network", "it has no Linear or Conv2d"))
    return f"{key}: {why}): choose another step"


def _remove(network: nn.Module, structure: Structure, kept: Kept) -> list[Edit]:
    edit = structure.edit(network, kept)
    cut_channels(network, edit)
    return [edit] if edit["keep"] else []


@torch.no_grad()
def _hold_at_zero(network: nn.Module, structure: Structure, kept: Kept) -> list[Edit]:
    """Masks over all that removal would take out of parameters: weights on both sides, biases, norms."""
    parameters = dict(network.named_parameters())
    indices = {key: axes for key, axes in structure.indices(structure.gone(kept)).items() if key in parameters}
    fresh = [key for key in indices if f"{key.rpartition('.')[2]}/mask" not in layer_of(network, key)._buffers]
    add_masks(network, mask_edit(fresh))
    for key, axes in indices.items():
        mask = layer_of(network, key).get_buffer(f"{key.rpartition('.')[2]}/mask")
        for axis, left in axes.items():
            lost = torch.ones(mask.shape[axis], dtype=torch.bool)
            lost[left] = False
            mask.index_fill_(axis, lost.nonzero().flatten(), False)
        parameters[key].masked_fill_(~mask, 0)
    return [mask_edit(fresh)] if fresh else []


def _check_untouched(shown: nn.Module, original: nn.Module, who: str) -> None:
    found = shown.state_dict()
    for key, value in original.state_dict().items():
        if not torch.allclose(found[key], value, rtol=0, atol=0, equal_nan=True):
            raise PruneryError(f"{who}: it, or its score, changed {key}, which it was only shown: mend the method")


def _check_kept(kept: Mapping[str, Tensor], structure: Structure, who: str) -> None:
    for name, mask in kept.items():
        if name not in structure.groups:
            raise PruneryError(f"{who}: {unknown('group', name, structure.groups)}")
        count = len(structure.groups[name])
        if mask.dtype != torch.bool or mask.shape != (count,):
            raise PruneryError(
                f"{who}: its answer for {name} is {mask.dtype} {list(mask.shape)}, wanted bool [{count}]"
            )
        if not bool(mask.any()):
            raise PruneryError(f"{who}: it leaves no channel of {name}: keep one, or exclude the layer")
