"""A histogram of a stream whose range nobody knows beforehand."""

from __future__ import annotations

import math

import torch
from torch import Tensor

NARROWEST = 2.0**-10
"""Width of the first range, relative to its magnitude, if the first values are all equal."""


class StreamingHistogram:
    """Counts over a fixed number of equal bins; the range doubles whenever a value falls outside.

    Doubling merges neighbouring bins, so every count stays exact. The first range is that of the first values, hence
    the final one is at most four times as wide as the values' own: a doubling to one side needs a value beyond it,
    and what earlier doublings to the other side overshot is at most half of the range by then. A quantile read from
    the counts is off by less than a bin: 4 (maximum - minimum) / bins.
    """

    def __init__(self, bins: int) -> None:
        self.counts = torch.zeros(bins, dtype=torch.int64)
        self.low = self.high = math.nan
        self.minimum, self.maximum = math.inf, -math.inf

    def add(self, values: Tensor) -> None:
        """Count values of any shape. Raises `ValueError` if some are not finite."""
        minimum, maximum = (float(end) for end in torch.aminmax(values.detach()))
        if not (math.isfinite(minimum) and math.isfinite(maximum)):
            raise ValueError("values are not finite")
        self.minimum, self.maximum = min(self.minimum, minimum), max(self.maximum, maximum)
        self._cover()
        bins = len(self.counts)
        index = (values.detach().flatten().float() - self.low) * (bins / (self.high - self.low))
        self.counts += torch.bincount(index.int().clamp_(0, bins - 1), minlength=bins).cpu()

    def _cover(self) -> None:
        """Double the range until it holds the extremes."""
        if math.isnan(self.low):
            narrowest = max(abs(self.minimum), 1.0) * NARROWEST
            self.low, self.high = self.minimum, max(self.maximum, self.minimum + narrowest)
        while self.high < self.maximum:
            self.high += self.high - self.low
            self.counts = torch.cat([self._merged(), torch.zeros_like(self._merged())])
        while self.low > self.minimum:
            self.low -= self.high - self.low
            self.counts = torch.cat([torch.zeros_like(self._merged()), self._merged()])

    def _merged(self) -> Tensor:
        return self.counts.reshape(-1, 2).sum(1)

    @property
    def edges(self) -> Tensor:
        """Lower end of the first bin and upper end of the last."""
        return torch.tensor([self.low, self.high], dtype=torch.float64)
