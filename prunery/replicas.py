"""Several networks of like structure as one: inputs `[R, B, ...]` in, logits `[R, B, classes]` out.

`Stacked` holds the parameters of R networks on a leading axis, so that one step of Python moves all of them; `Single`
is one network, called as it is (batch norm, dropout, foreign models). Neither lets one replica see another.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.nn.attention import SDPBackend, sdpa_kernel

from prunery.chains import Chain

MASK = "/mask"


class Ensemble(ABC):
    """R networks with one interface.

    `parameters` and `buffers` are the live tensors by key; `dead` is True where a mask holds a weight at zero.
    """

    networks: list[nn.Module]
    parameters: dict[str, Tensor]
    buffers: dict[str, Tensor]
    dead: dict[str, Tensor]

    def __len__(self) -> int:
        return len(self.networks)

    @property
    def trainable(self) -> dict[str, Tensor]:
        """The parameters that want gradients."""
        return {key: value for key, value in self.parameters.items() if value.requires_grad}

    @abstractmethod
    def forward(self, inputs: Float[Tensor, "replicas batch ..."]) -> Float[Tensor, "replicas batch classes"]:
        """The logits of each replica for its own batch."""

    @abstractmethod
    def by_replica(self, tensor: Tensor) -> Float[Tensor, "replicas ..."]:
        """A parameter, buffer or gradient, viewed with the replicas on the leading axis."""

    @abstractmethod
    def train(self, mode: bool) -> None:
        """Training or evaluation mode."""

    @abstractmethod
    def keep(self, rows: Sequence[int]) -> None:
        """Go on with these replicas only."""

    @abstractmethod
    def remember(self, rows: Sequence[int]) -> None:
        """Note the present values of these replicas, over what was noted of them before."""

    @abstractmethod
    def write_back(self) -> None:
        """Put what was noted last into the networks, on the CPU, in evaluation mode."""

    def mask_gradients(self) -> None:
        """Zero the gradients of masked weights."""
        for key, dead in self.dead.items():
            gradient = self.parameters[key].grad
            if gradient is not None:
                gradient.masked_fill_(dead, 0.0)

    @torch.no_grad()
    def mask_weights(self) -> None:
        """Make masked weights exactly zero."""
        for key, dead in self.dead.items():
            self.parameters[key].masked_fill_(dead, 0.0)

    def clip_gradients(self, limit: float) -> None:
        """Scale each replica's gradient so that its L2 norm, over all its parameters, is at most `limit`."""
        found = [value.grad for value in self.parameters.values() if value.grad is not None]
        gradients = [self.by_replica(gradient) for gradient in found]
        squares = torch.stack([gradient.flatten(1).square().sum(1) for gradient in gradients]).sum(0)
        factor = (limit / (squares.sqrt() + 1e-6)).clamp(max=1.0)
        for gradient in gradients:
            gradient.mul_(factor.reshape(-1, *[1] * (gradient.dim() - 1)))


class Single(Ensemble):
    """One network, called as it is."""

    def __init__(self, network: nn.Module, device: torch.device) -> None:
        self.networks = [network.to(device)]
        self.parameters = dict(network.named_parameters())
        self.buffers = dict(network.named_buffers())
        self.dead = _dead(self.buffers)
        self._noted: dict[str, Tensor] = {}

    def forward(self, inputs: Tensor) -> Tensor:
        """The network's logits."""
        logits: Tensor = self.networks[0](inputs[0])
        return logits.unsqueeze(0)

    def by_replica(self, tensor: Tensor) -> Tensor:
        """One replica: a leading axis of one."""
        return tensor.unsqueeze(0)

    def train(self, mode: bool) -> None:
        """The network's mode."""
        self.networks[0].train(mode)

    def keep(self, rows: Sequence[int]) -> None:
        """Nothing to leave out."""
        assert list(rows) == [0]

    def remember(self, rows: Sequence[int]) -> None:
        """Clone the values."""
        if rows:
            live = {**self.parameters, **self.buffers}
            self._noted = {key: value.detach().clone() for key, value in live.items()}

    @torch.no_grad()
    def write_back(self) -> None:
        """Copy the noted values back."""
        for key, value in {**self.parameters, **self.buffers}.items():
            value.copy_(self._noted[key])
            value.grad = None
        self.networks[0].to("cpu").eval()


class Stacked(Ensemble):
    """R networks of one structure, their tensors stacked on a leading axis and run as one batch."""

    def __init__(self, networks: Sequence[nn.Module], device: torch.device) -> None:
        self.networks = list(networks)
        self._slots = list(networks)
        self._base = networks[0]
        named: list[dict[str, Tensor]] = [dict(network.named_parameters()) for network in networks]
        kept = [dict(network.named_buffers()) for network in networks]
        self.parameters = {key: _stack(named, key, device, named[0][key].requires_grad) for key in named[0]}
        self.buffers = {key: _stack(kept, key, device, False) for key in kept[0]}
        self.dead = _dead(self.buffers)
        self._chain = Chain.of(self._base)
        self._mapped = vmap(lambda state, inputs: functional_call(self._base, state, (inputs,)))

    def forward(self, inputs: Tensor) -> Tensor:
        """The chain's logits, or the mapped network's."""
        if self._chain is not None:
            return self._chain.forward(self.parameters, inputs)
        state = {**self.parameters, **{key: value for key, value in self.buffers.items() if not key.endswith(MASK)}}
        with sdpa_kernel(SDPBackend.MATH):  # the fused kernels have no batching rule: vmap would loop over them
            logits: Tensor = self._mapped(state, inputs)
        return logits

    def by_replica(self, tensor: Tensor) -> Tensor:
        """Stacked already."""
        return tensor

    def train(self, mode: bool) -> None:
        """The mode of the network whose code runs."""
        self._base.train(mode)

    @torch.no_grad()
    def keep(self, rows: Sequence[int]) -> None:
        """Index the leading axis of every tensor."""
        index = list(rows)
        for value in self.parameters.values():
            value.grad = None
            value.data = value.data[index]
        self.buffers = {key: value[index] for key, value in self.buffers.items()}
        self.dead = _dead(self.buffers)
        self.networks = [self.networks[row] for row in index]

    @torch.no_grad()
    def remember(self, rows: Sequence[int]) -> None:
        """Copy the values into the networks."""
        for key, value in {**self.parameters, **self.buffers}.items():
            chosen = value[list(rows)].cpu()
            for row, one in zip(rows, chosen, strict=True):
                _tensor_of(self.networks[row], key).copy_(one)

    def write_back(self) -> None:
        """The values are in place; leave training mode."""
        for network in self._slots:
            network.eval()


def alike(networks: Sequence[nn.Module]) -> bool:
    """Whether networks have the same layers with the same arguments and tensors of the same shapes."""
    return len({_structure(network) for network in networks}) == 1


def ensembles(networks: Sequence[nn.Module], batched: bool, device: torch.device) -> list[Ensemble]:
    """The networks as one `Stacked` where that is asked for and possible, else as a `Single` each, in order."""
    if batched and len(networks) > 1 and alike(networks):
        return [Stacked(networks, device)]
    return [Single(network, device) for network in networks]


def _structure(network: nn.Module) -> str:
    tensors = [(key, tuple(value.shape), str(value.dtype)) for key, value in network.state_dict().items()]
    return f"{network!r} {tensors}"


def _tensor_of(network: nn.Module, key: str) -> Tensor:
    path, _, name = key.rpartition(".")
    tensor: Tensor = getattr(network.get_submodule(path), name)
    return tensor


def _stack(tensors: list[dict[str, Tensor]], key: str, device: torch.device, trainable: bool) -> Tensor:
    stacked = torch.stack([one[key].detach() for one in tensors]).to(device)
    return stacked.requires_grad_(trainable)


def _dead(buffers: dict[str, Tensor]) -> dict[str, Tensor]:
    return {key.removesuffix(MASK): ~value for key, value in buffers.items() if key.endswith(MASK)}
