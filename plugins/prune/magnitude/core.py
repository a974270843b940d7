"""Magnitude scores."""

from __future__ import annotations

from collections.abc import Mapping

from jaxtyping import Float
from torch import Tensor


def magnitude_scores(weights: Mapping[str, Float[Tensor, "out ..."]]) -> dict[str, Float[Tensor, "out ..."]]:
    """|W| of every layer: the score by which a weight stays. Weights that are zero already come out lowest."""
    return {key: weight.abs() for key, weight in weights.items()}
