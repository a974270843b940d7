"""The budget of a removed part that is Gaussian noise (corollaries 5.10 and 5.11)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from .inequalities import TOLERANCE, Verdict
from .segment import Segment, through


@dataclass(frozen=True)
class Noise:
    """Entries of a weight with n rows and m columns, drawn from N(0, g / n)."""

    rows: int
    columns: int
    g: float

    @classmethod
    def like(cls, removed: Float[Tensor, "out ..."]) -> Noise:
        """Noise with the mean square of what was removed."""
        matrix = removed.flatten(1)
        rows, columns = matrix.shape
        return cls(rows, columns, float(matrix.square().mean()) * rows)

    @property
    def edge(self) -> float:
        """The largest singular value that such noise has in the limit: sqrt(g) (1 + sqrt(m / n))."""
        return math.sqrt(self.g) * (1 + math.sqrt(self.columns / self.rows))

    def factor(self, outputs: int, delta: float) -> float:
        """What |v|_2 is multiplied by for a bound of |R v| that `outputs` values keep together, but for a probability
        `delta`; written by the edge, as in corollary 5.11."""
        spread = self.edge / (1 + math.sqrt(self.columns / self.rows))
        return spread * math.sqrt(2 / self.rows * math.log(2 * outputs / delta))


def gaussian(
    segments: Sequence[Segment], lipschitz: Float[Tensor, " samples"], removed: Tensor, settings: tuple[int, float, int]
) -> tuple[Verdict, float]:
    """8. Of draws of noise like R, a share of at least 1 - delta has B <= 2 mean(L_s |v_s|_2) factor; and that bound.

    `lipschitz` are constants that do not depend on the draws, v_s a sample's input (of convolutions the longest patch).
    `settings` are the number of draws, delta, and the seed.
    """
    draws, delta, seed = settings
    noise, norms = Noise.like(removed), torch.cat([longest(each, removed) for each in segments])
    outputs = sum(each.step.numel() for each in segments)
    bound = 2 * float((lipschitz * norms).mean()) * noise.factor(outputs, delta)
    generator = torch.Generator().manual_seed(seed)
    budgets = []
    for _ in range(draws):
        drawn = torch.randn(removed.shape, generator=generator, dtype=removed.dtype) * math.sqrt(noise.g / noise.rows)
        moved = [largest(through(each.layer, each.received, drawn.to(removed.device)), each) for each in segments]
        budgets.append(2 * float((lipschitz * torch.cat(moved)).mean()))
    kept = sum(budget <= bound * (1 + TOLERANCE) for budget in budgets)
    return Verdict(bound - max(budgets), kept >= (1 - delta) * draws), bound


def largest(values: Tensor, segment: Segment) -> Float[Tensor, " samples"]:
    """Each sample's largest absolute value."""
    return values.reshape(len(segment.inputs), -1).abs().amax(1)


def longest(segment: Segment, weight: Float[Tensor, "out ..."]) -> Float[Tensor, " samples"]:
    """The L2 norm of what an output value of each sample is computed from, the largest of all its values."""
    squares = through(segment.layer, segment.received.square(), torch.ones_like(weight))
    return largest(squares, segment).sqrt()
