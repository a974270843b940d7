"""Merging the most alike tokens of a sequence, and undoing it: tensor maths that knows nothing of networks.

Tokens at even places are matched with those at odd places. Products with matrices of zeros and ones do the adding:
unlike scattered sums they give the same bytes on every device, run under `vmap`, and every runtime has them.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor


@dataclass(frozen=True)
class Matching:
    """Which tokens are merged into which.

    `kept` and `gone` are places among the even tokens, ascending and by similarity; `partners` the place, among the odd
    tokens, that each of `gone` joins. `count` says how many tokens there are, `prefix` how many of the first stay.
    """

    kept: Int[Tensor, "batch kept"]
    gone: Int[Tensor, "batch merged"]
    partners: Int[Tensor, "batch merged"]
    count: int
    prefix: int

    def summed(self, values: Float[Tensor, "batch tokens width"]) -> Float[Tensor, "batch left width"]:
        """Values of the tokens that are left: the prefix, the other even ones, the odd ones; what joined is added."""
        even, odd = values[:, ::2], values[:, 1::2]
        joined = odd + self._joins(odd).to(values.dtype) @ _taken(even, self.gone)
        return self._ordered(torch.cat([_taken(even, self.kept), joined], dim=1))

    def places(self) -> Int[Tensor, "batch tokens"]:
        """For each token, where it is found among those that are left."""
        left, odd = self.kept.shape[1], self.count // 2
        own = torch.arange(left, device=self.kept.device).expand_as(self.kept)
        order = torch.cat([self.kept, self.gone], dim=1).argsort(dim=1)
        even = torch.cat([own, left + self.partners], dim=1).gather(1, order)
        whole = torch.cat([even, left + torch.arange(odd, device=even.device).expand(len(even), odd)], dim=1)
        interleaved = [place // 2 + (place % 2) * even.shape[1] for place in range(self.count)]
        return self._moved()[whole[:, interleaved]]

    def _joins(self, odd: Tensor) -> Bool[Tensor, "batch odd merged"]:
        return self.partners.unsqueeze(1) == torch.arange(odd.shape[1], device=odd.device).unsqueeze(1)

    def _ordered(self, left: Tensor) -> Tensor:
        """The prefix first; it is there already unless some of it stood at odd places."""
        return left if self.prefix < 2 else left[:, self._order()]

    def _order(self) -> list[int]:
        """For each place of the result, the place in even ones and odd ones side by side."""
        even = self.kept.shape[1]
        prefix = [place // 2 + (place % 2) * even for place in range(self.prefix)]
        others = set(range(even + self.count // 2)) - set(prefix)
        return [*prefix, *sorted(others)]

    def _moved(self) -> Int[Tensor, " left"]:
        """The inverse of the order."""
        order = self._order()
        return torch.tensor(sorted(range(len(order)), key=order.__getitem__), device=self.kept.device)


def most(count: int, prefix: int) -> int:
    """How many of `count` tokens can be merged at once while the first `prefix` stay."""
    return max(0, (count - prefix) // 2)


def match(metric: Float[Tensor, "batch tokens width"], merged: int, prefix: int) -> Matching:
    """The `merged` pairs of an even and an odd token that point most in the same direction, one for each even token.

    `merged` is at least 1 and at most `most(tokens, prefix)`. Several tokens may join the same one; of equal
    similarities the lower place goes first. Source: Bolya et al., "Token merging: your ViT but faster", 2023,
    section 3 and algorithm 1, where the even tokens that stay keep their order only behind a class token.
    """
    directions = F.normalize(metric.detach(), dim=-1)
    even, odd = directions[:, ::2], directions[:, 1::2]
    similarity = (even @ odd.transpose(1, 2)).masked_fill(_prefix(even, odd, prefix), -torch.inf)
    best, partner = similarity.max(dim=2)
    order = best.argsort(dim=1, descending=True)  # PyTorch's sort keeps the order of ties; stable=True has no ONNX form
    gone, kept = order[:, :merged], order[:, merged:].sort(dim=1).values
    return Matching(kept, gone, partner.gather(1, gone), metric.shape[1], prefix)


def _prefix(even: Tensor, odd: Tensor, prefix: int) -> Bool[Tensor, "even odd"]:
    """Pairs with a token of the prefix, which takes no part."""
    rows, columns = (torch.arange(side.shape[1], device=side.device) for side in (even, odd))
    return (rows < (prefix + 1) // 2).unsqueeze(1) | (columns < prefix // 2)


def merge(
    matching: Matching, tokens: Float[Tensor, "batch tokens width"], sizes: Float[Tensor, "batch tokens 1"]
) -> tuple[Float[Tensor, "batch left width"], Float[Tensor, "batch left 1"]]:
    """Tokens that are left, as means over all that they stand for, and how many those are.

    `sizes` are fp32: what tokens of lower precision weigh is exact, and so is their mean until it is rounded.
    """
    left = matching.summed(sizes)
    return (matching.summed(tokens * sizes) / left).to(tokens.dtype), left


def restore(
    left: Float[Tensor, "batch left width"], places: Int[Tensor, "batch tokens"]
) -> Float[Tensor, "batch tokens width"]:
    """As many tokens as there once were, each the one it was merged into."""
    return _taken(left, places)


def _taken(values: Tensor, places: Tensor) -> Tensor:
    return values.gather(1, places.unsqueeze(2).expand(-1, -1, values.shape[2]))
