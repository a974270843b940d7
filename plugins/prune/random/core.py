"""Random scores."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor


def random_scores(
    weights: Mapping[str, Float[Tensor, "out ..."]], generator: torch.Generator
) -> dict[str, Float[Tensor, "out ..."]]:
    """Uniform scores in [0, 1), and -1 for weights that are zero already: they are the first to be counted as pruned.

    Drawn on the generator's device, then moved to the weights', so that a GPU prunes the same weights as a CPU.
    """
    return {key: _scores(weight, generator) for key, weight in weights.items()}


def _scores(weight: Tensor, generator: torch.Generator) -> Tensor:
    drawn = torch.rand(weight.shape, generator=generator, device=generator.device)
    return drawn.to(weight.device).masked_fill(weight == 0, -1.0)
