"""Random scores."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor


def drawn(channels: int, generator: torch.Generator) -> Float[Tensor, " channels"]:
    """Uniform in [0, 1)."""
    return torch.rand(channels, generator=generator)
