"""Networks that train side by side, behind one interface: inputs `[R, B, ...]` in, logits `[R, B, classes]` out.

`Single` is one network, called as it is (batch norm, dropout, foreign models); `prunery.stacked` runs many as one
batch. Neither lets one replica see another.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

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
    def forward(self, inputs: Float[Tensor, "seeds batch ..."]) -> Float[Tensor, "replicas batch classes"]:
        """The logits of each replica for its own batch, or of all for a single one."""

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
        """Note the present values of these replicas, over what was noted of them before; first those of all."""

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
        self.dead = dead_weights(self.buffers)
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

    @torch.no_grad()
    def remember(self, rows: Sequence[int]) -> None:
        """Copy the values, over the old ones: fresh memory would cost more than the copy."""
        for key, value in {**self.parameters, **self.buffers}.items() if rows else ():
            if key in self._noted:
                self._noted[key].copy_(value)
            else:
                self._noted[key] = value.detach().clone()

    @torch.no_grad()
    def write_back(self) -> None:
        """Copy the noted values back."""
        for key, value in {**self.parameters, **self.buffers}.items():
            value.copy_(self._noted[key])
            value.grad = None
        self.networks[0].to("cpu").eval()


def dead_weights(buffers: dict[str, Tensor]) -> dict[str, Tensor]:
    """Where masks hold weights at zero, by key of the weight."""
    return {key.removesuffix(MASK): ~value for key, value in buffers.items() if key.endswith(MASK)}
