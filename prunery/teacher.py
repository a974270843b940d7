"""Teachers of replicas: frozen networks whose logits a loss compares with."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from prunery.batching import Batch
from prunery.data import Dataset
from prunery.programs import ensembles

TABLE_BYTES = 256 * 2**20
"""Up to this size the logits of the whole training split are computed once, unless augmentation changes the inputs."""


class Teacher:
    """A teacher for each replica, or one for all. Runs in evaluation mode, without gradients."""

    def __init__(self, networks: Sequence[nn.Module], batched: bool, device: torch.device) -> None:
        self.shared = all(network is networks[0] for network in networks)
        self.ensembles = ensembles(networks[:1] if self.shared else networks, batched, device)
        self.device = device
        self.table: Tensor | None = None
        for ensemble in self.ensembles:
            ensemble.train(False)

    def __len__(self) -> int:
        return sum(map(len, self.ensembles))

    @property
    def network(self) -> nn.Module:
        """The only one there is."""
        ((network,),) = (ensemble.networks for ensemble in self.ensembles)
        return network

    def keep(self, rows: Sequence[int]) -> None:
        """Go on with the teachers of these replicas."""
        if self.shared:
            return
        if len(self.ensembles) == 1:
            self.ensembles[0].keep(rows)
        else:
            self.ensembles = [self.ensembles[row] for row in rows]
        if self.table is not None:
            self.table = self.table[list(rows)]

    @torch.no_grad()
    def prepare(self, dataset: Dataset, batch_size: int) -> None:
        """Compute the logits of the training split once, if they are few enough to keep."""
        if len(self) * len(dataset.train) * len(dataset.classes) * 4 > TABLE_BYTES:
            return
        batches = (inputs.to(self.device) for inputs, _ in dataset.batches("train", batch_size))
        self.table = torch.cat([self._run(inputs.expand(len(self), *inputs.shape)) for inputs in batches], dim=1)

    @torch.no_grad()
    def logits(self, batch: Batch) -> Float[Tensor, "replicas batch classes"]:
        """What the teacher of each replica says of its batch."""
        if self.table is not None:
            own = torch.arange(len(self), device=self.device)
            return self.table[own[:, None], batch.samples]
        return self._run(batch.inputs)

    def _run(self, inputs: Float[Tensor, "replicas batch ..."]) -> Float[Tensor, "replicas batch classes"]:
        if self.shared:
            together = self.ensembles[0].forward(inputs.flatten(0, 1).unsqueeze(0))
            return together[0].unflatten(0, inputs.shape[:2])
        parts = inputs.split([len(ensemble) for ensemble in self.ensembles])
        outputs = [ensemble.forward(part) for ensemble, part in zip(self.ensembles, parts, strict=True)]
        return torch.cat(outputs)
