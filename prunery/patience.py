"""Early stopping, replica by replica."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping
from typing import Generic, TypeVar

Replica = TypeVar("Replica", bound=Hashable)


class Patience(Generic[Replica]):
    """Early stopping, replica by replica; `epochs` without a lower loss and a replica is done, None = never."""

    def __init__(self, epochs: int | None) -> None:
        self.epochs = epochs
        self.lowest: dict[Replica, float] = {}
        self.waited: dict[Replica, int] = {}

    def judge(self, losses: Mapping[Replica, float]) -> tuple[set[Replica], set[Replica]]:
        """Which replicas are worth remembering (all, if there is no early stopping) and which go on."""
        if self.epochs is None:
            return set(losses), set(losses)
        better = {replica for replica, loss in losses.items() if loss < self.lowest.get(replica, math.inf)}
        for replica, loss in losses.items():
            self.waited[replica] = 0 if replica in better else self.waited[replica] + 1
            self.lowest[replica] = min(loss, self.lowest.get(replica, math.inf))
        return better, {replica for replica in losses if self.waited[replica] < self.epochs}
