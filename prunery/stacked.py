"""Many networks as one batch: their tensors stacked on a leading axis, so that one step of Python moves all of them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.nn.attention import SDPBackend, sdpa_kernel

from prunery.chains import Chain
from prunery.replicas import MASK, Ensemble, dead_weights


class Stacked(Ensemble):
    """R networks run as one batch, their tensors stacked on a leading axis.

    The networks have one structure; or they are chains of one form (`Chain.pads`) and differ in size: then smaller
    tensors are padded with zeros, which training leaves zero.
    """

    def __init__(self, networks: Sequence[nn.Module], device: torch.device) -> None:
        self.networks = list(networks)
        self._all = list(networks)
        self._base = networks[0]
        named: list[dict[str, Tensor]] = [dict(network.named_parameters()) for network in networks]
        kept = [dict(network.named_buffers()) for network in networks]
        self.parameters = {key: _stack(named, key, device, named[0][key].requires_grad) for key in named[0]}
        self.buffers = {key: _stack(kept, key, device, False) for key in kept[0]}
        self.dead = dead_weights(self.buffers)
        self._noted: dict[str, Tensor] = {}
        self._chain = Chain.of(self._base)
        self._own, self._shared = (vmap(self._call, in_dims=(0, places)) for places in (0, None))

    def forward(self, inputs: Float[Tensor, "seeds batch ..."]) -> Float[Tensor, "replicas batch classes"]:
        """The logits of each replica for its own batch, or of all for a shared one.

        Of a chain with fewer inputs than replicas, each serves the same number of replicas, neighbours.
        """
        if self._chain is not None:
            return self._chain.forward(self.parameters, inputs)
        state = {**self.parameters, **{key: value for key, value in self.buffers.items() if not key.endswith(MASK)}}
        with sdpa_kernel(SDPBackend.MATH):  # the fused kernels have no batching rule: vmap would loop over them
            shared = len(inputs) < len(self)
            logits: Tensor = self._shared(state, inputs[0]) if shared else self._own(state, inputs)
        return logits

    def _call(self, state: dict[str, Tensor], inputs: Tensor) -> Tensor:
        logits: Tensor = functional_call(self._base, state, (inputs,))
        return logits

    def by_replica(self, tensor: Tensor) -> Tensor:
        """Stacked already."""
        return tensor

    def train(self, mode: bool) -> None:
        """The mode of the network whose code runs."""
        self._base.train(mode)

    @torch.no_grad()
    def keep(self, rows: Sequence[int]) -> None:
        """Index the leading axis of every tensor; what was noted of the others goes into their networks."""
        index = list(rows)
        self._hand_over([row for row in range(len(self)) if row not in set(index)])
        for value in self.parameters.values():
            value.grad = None
            value.data = value.data[index]
        self.buffers = {key: value[index] for key, value in self.buffers.items()}
        self.dead = dead_weights(self.buffers)
        self._noted = {key: value[index] for key, value in self._noted.items()}
        self.networks = [self.networks[row] for row in index]

    @torch.no_grad()
    def remember(self, rows: Sequence[int]) -> None:
        """Copy the rows of the stacked values."""
        live = {**self.parameters, **self.buffers}
        if len(rows) == len(self):
            for key, value in live.items():
                if key in self._noted:
                    self._noted[key].copy_(value)
                else:
                    self._noted[key] = value.detach().clone()
        elif len(rows):
            index = torch.as_tensor(list(rows), device=next(iter(live.values())).device)
            for key, value in live.items():
                self._noted[key].index_copy_(0, index, value.detach().index_select(0, index))

    def write_back(self) -> None:
        """Fill the networks and leave training mode."""
        self._hand_over(range(len(self)))
        for network in self._all:
            network.eval()

    @torch.no_grad()
    def _hand_over(self, rows: Sequence[int]) -> None:
        """Fill these replicas' networks with what was noted, without the padding."""
        for key, value in self._noted.items():
            for row, one in zip(rows, value[list(rows)].cpu(), strict=True):
                tensor = _tensor_of(self.networks[row], key)
                tensor.copy_(one[tuple(slice(size) for size in tensor.shape)])


def alike(networks: Sequence[nn.Module]) -> bool:
    """Whether networks have the same layers with the same arguments and tensors of the same shapes."""
    return len({_structure(network) for network in networks}) == 1


def _structure(network: nn.Module) -> str:
    tensors = [(key, tuple(value.shape), str(value.dtype)) for key, value in network.state_dict().items()]
    return f"{network!r} {tensors}"


def _tensor_of(network: nn.Module, key: str) -> Tensor:
    path, _, name = key.rpartition(".")
    tensor: Tensor = getattr(network.get_submodule(path), name)
    return tensor


def _stack(tensors: list[dict[str, Tensor]], key: str, device: torch.device, trainable: bool) -> Tensor:
    rows = [one[key].detach() for one in tensors]
    shapes = {row.shape for row in rows}
    if len(shapes) > 1:
        rows = [_padded(row, [max(sizes) for sizes in zip(*shapes, strict=True)]) for row in rows]
    return torch.stack(rows).to(device).requires_grad_(trainable)


def _padded(tensor: Tensor, shape: Sequence[int]) -> Tensor:
    """A tensor with zeros behind its values along each axis."""
    whole = tensor.new_zeros(shape)
    whole[tuple(slice(size) for size in tensor.shape)] = tensor
    return whole
