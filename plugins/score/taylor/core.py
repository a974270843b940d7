"""Taylor expansions of the loss in the weights of a channel, from moments of gradients."""

from __future__ import annotations

from collections.abc import Mapping

from jaxtyping import Float
from torch import Tensor


def changes(
    weight: Float[Tensor, "out ..."], moments: Mapping[str, Tensor], order: str
) -> Float[Tensor, " out"] | None:
    """What removing channel c does to the loss, g being a sample's gradient with respect to W[c].

    - `removal`: mean over samples of the squared change when the weights that read c are zero, in whatever layers: the
      same expansion at the place where the channel is read, so that norms and activations behind W[c] count (those have
      shifts that outlive W[c] = 0). None if nothing that reads it was measured.
    - `filter`: mean over samples of (sum W[c] g)^2 (Molchanov et al. 2019, eq. 8)
    - `first`: sum |W[c]| mean |g|, which no cancellation inside a channel makes small
    - `second`: sum W[c]^2 mean g^2 / 2 (LeCun et al. 1990 with the empirical Fisher information for the Hessian)
    """
    if order == "removal":
        found = moments.get("removal_changes")
        return None if found is None else found.to(weight.device)
    if order == "filter":
        return moments["filter_taylor"].to(weight.device)
    if order == "first":
        return (weight.abs() * moments["gradient_mean_abs"].to(weight.device)).flatten(1).sum(1)
    return (weight.square() * moments["fisher"].to(weight.device)).flatten(1).sum(1) / 2
