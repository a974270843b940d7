"""Token merging as an edit: in every block of an encoder, between attention and MLP, alike tokens become one.

What flows from block to block beside the tokens (how many input tokens each stands for) lies, while the network runs,
in an object that its blocks share; the last block empties it. So a network must not be run by two threads at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from prunery.encoders import (
    Bias,
    Tokens,
    encoder_blocks,
    opened_class,
    opening,
    prefix_tokens,
    read_beyond,
    token_count,
)
from prunery.errors import PruneryError
from prunery.tokens import match, merge, most, restore


@dataclass
class Flow:
    """How many input tokens each token stands for, and where each input token is found; None before the first merge."""

    sizes: Float[Tensor, "batch tokens 1"] | None = None
    places: Int[Tensor, "batch first"] | None = None


@dataclass(frozen=True)
class Share:
    """What one block does: merge `count` tokens behind the first `prefix`.

    `proportional`: attention counts a token as often as it stands for one. `opens` and `closes`: it is the first or the
    last block. `restores`: behind the last block every token stands where it stood, as what follows reads them all.
    """

    count: int
    prefix: int
    proportional: bool
    opens: bool
    closes: bool
    restores: bool
    flow: Flow


class Merging(nn.Module):
    """Goes before the class of an open block (`prunery.encoders`)."""

    share: Share

    def forward(self: Any, tokens: Tokens, *arguments: Any, **options: Any) -> Tokens:
        """Attention, merging, MLP. Raises `NotImplementedError` if the network passes a mask on to its blocks."""
        if any(isinstance(each, Tensor) for each in (*arguments, *options.values())):
            raise NotImplementedError("tokens are merged in attention without masks only")
        share, flow = self.share, self.share.flow
        if share.opens:
            flow.sizes = flow.places = None
        tokens, keys = self.attend(tokens, _bias(flow.sizes, tokens.dtype) if share.proportional else None)
        if share.count:
            tokens = _merged(share, tokens, keys)
        tokens = self.transform(tokens)
        if share.closes:
            if share.restores and flow.places is not None:
                tokens = restore(tokens, flow.places)
            flow.sizes = flow.places = None
        return tokens

    def extra_repr(self) -> str:
        """Networks that merge otherwise are otherwise built."""
        share = self.share
        told = [f"merge={share.count}", f"prefix={share.prefix}"]
        told += [name for name in ("proportional", "restores") if getattr(share, name)]
        return ", ".join(told)


def _bias(sizes: Tensor | None, dtype: torch.dtype) -> Bias | None:
    """What makes attention weigh a token as if it were there `sizes` times: log sizes beside the logits."""
    return None if sizes is None else sizes.log().to(dtype).transpose(1, 2).unsqueeze(1)


def _merged(share: Share, tokens: Tokens, keys: Tokens) -> Tokens:
    flow = share.flow
    matching = match(keys, share.count, share.prefix)
    sizes = tokens.new_ones((*tokens.shape[:2], 1), dtype=torch.float32) if flow.sizes is None else flow.sizes
    tokens, flow.sizes = merge(matching, tokens, sizes)
    if share.restores:
        places = matching.places()
        flow.places = places if flow.places is None else places.gather(1, flow.places)
    return tokens


def merge_tokens(network: nn.Module, edit: dict[str, Any]) -> nn.Module:
    """Let blocks merge tokens: `blocks` has for each, in the order they run, how many."""
    flow, names = Flow(), list(edit["blocks"])
    for name, count in edit["blocks"].items():
        block = network.get_submodule(name)
        parts = opening(block)
        if parts is None or isinstance(block, Merging):
            raise TypeError(f"{name} is no block in which tokens can be merged")
        ends = {"opens": name == names[0], "closes": name == names[-1], "restores": edit["restore"]}
        block.share = Share(count, edit["prefix"], edit["proportional"], **ends, flow=flow)  # type: ignore[assignment]
        kind: Any = type(block)
        block.__class__ = opened_class(kind, parts, Merging)
    return network


def merge_edit(
    network: nn.Module, example: Tensor, wanted: list[int] | int, proportional: bool = True
) -> dict[str, Any]:
    """The edit that merges `wanted` tokens in every block, or one number for each block.

    Where fewer can be merged, since earlier blocks left few, it is as many as can be. Raises `PruneryError` if the
    network has no blocks that can be entered, merges already, or not even its first block holds as many tokens.
    """
    blocks = encoder_blocks(network)
    _check_blocks(network, blocks)
    counts = [wanted] * len(blocks) if isinstance(wanted, int) else wanted
    if len(counts) != len(blocks):
        raise PruneryError(f"there are {len(counts)} numbers of tokens to merge for {len(blocks)} blocks")
    tokens, prefix = token_count(network, example, blocks), prefix_tokens(network)
    if (largest := max(counts)) > most(tokens, prefix):
        raise PruneryError(
            f"{largest} tokens cannot be merged in a block: of its {tokens} tokens at most {most(tokens, prefix)} can"
        )
    shares = {}
    for name, count in zip(blocks, counts, strict=True):
        shares[name] = min(count, most(tokens, prefix))
        tokens -= shares[name]
    needed = read_beyond(network, example, blocks[-1], prefix)
    return {
        "edit": "merge_tokens", "blocks": shares, "prefix": prefix, "proportional": proportional, "restore": needed,
    }  # fmt: skip


def _check_blocks(network: nn.Module, blocks: list[str]) -> None:
    if not blocks:
        raise PruneryError(
            "this network has no block in which tokens can be merged: that takes a vision transformer of timm "
            "(plain blocks), of transformers (ViT, DeiT), or one whose blocks have attend and transform"
        )
    if any(isinstance(network.get_submodule(name), Merging) for name in blocks):
        raise PruneryError("this network merges tokens already: merge once, with a larger r")
