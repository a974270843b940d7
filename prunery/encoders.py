"""Blocks of transformer encoders that can be entered between attention and MLP, whoever wrote them.

A block offers itself by two methods, as `OpenBlock` says. Blocks of timm and transformers get them here, by a subclass
that their objects are turned into: names of parameters stay as they are.
"""

from __future__ import annotations

from functools import cache
from typing import Any, Protocol, runtime_checkable

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from prunery.errors import PruneryError

Tokens = Float[Tensor, "batch tokens width"]
Bias = Float[Tensor, "batch 1 1 tokens"]


@runtime_checkable
class OpenBlock(Protocol):
    """A pre-norm block whose `forward(tokens)` is `transform(attend(tokens)[0])`.

    The network that holds such blocks states as `prefix_tokens` how many of the first tokens are no places of the input
    (a class token, say).
    """

    def attend(self, tokens: Tokens, bias: Bias | None = None) -> tuple[Tokens, Tokens]:
        """Tokens with the attention's answer added, and the keys, averaged over heads.

        `bias` is added to the logits of attention, by the token that is looked at.
        """

    def transform(self, tokens: Tokens) -> Tokens:
        """Tokens with the MLP's answer added."""


class TimmBlock:
    """What opens `timm.models.vision_transformer.Block` with timm's plain attention."""

    @staticmethod
    def fits(block: nn.Module) -> bool:
        """Told by names: timm is imported by whoever built the network, if at all."""
        kind, attention = type(block), type(getattr(block, "attn", None))
        return (kind.__module__, kind.__name__) == ("timm.models.vision_transformer", "Block") and (
            attention.__module__ in ("timm.layers.attention", "timm.models.vision_transformer")
            and attention.__name__ == "Attention"
        )

    def attend(self: Any, tokens: Tokens, bias: Bias | None = None) -> tuple[Tokens, Tokens]:
        """See `OpenBlock`."""
        layer, normed = self.attn, self.norm1(tokens)
        query, key, value = layer.qkv(normed).unflatten(2, (3, -1, layer.head_dim)).permute(2, 0, 3, 1, 4).unbind(0)
        query, key = layer.q_norm(query), layer.k_norm(key)
        mixed = F.scaled_dot_product_attention(
            query, key, value, bias, layer.attn_drop.p if self.training else 0.0, scale=layer.scale
        )
        mixed = layer.norm(mixed.transpose(1, 2).flatten(2))
        if getattr(layer, "gate", None) is not None:
            mixed = mixed * layer.gate(normed).sigmoid()
        return tokens + self.drop_path1(self.ls1(layer.proj_drop(layer.proj(mixed)))), key.mean(1)

    def transform(self: Any, tokens: Tokens) -> Tokens:
        """See `OpenBlock`."""
        return tokens + self.drop_path2(self.ls2(self.mlp(self.norm2(tokens))))


class TransformersBlock:
    """What opens the layers of transformers' ViT and DeiT."""

    @staticmethod
    def fits(block: nn.Module) -> bool:
        """Told by names, as above."""
        projections = all(hasattr(getattr(block, "attention", None), f"{letter}_proj") for letter in "qkvo")
        return type(block).__name__ in ("ViTLayer", "DeiTLayer") and projections

    def attend(self: Any, tokens: Tokens, bias: Bias | None = None) -> tuple[Tokens, Tokens]:
        """See `OpenBlock`."""
        layer, normed = self.attention, self.layernorm_before(tokens)
        query, key, value = (
            projection(normed).unflatten(2, (-1, layer.head_dim)).transpose(1, 2)
            for projection in (layer.q_proj, layer.k_proj, layer.v_proj)
        )
        dropped = layer.attention_dropout if self.training else 0.0
        mixed = F.scaled_dot_product_attention(query, key, value, bias, dropped, scale=layer.scaling)
        return tokens + self.dropout(layer.o_proj(mixed.transpose(1, 2).flatten(2))), key.mean(1)

    def transform(self: Any, tokens: Tokens) -> Tokens:
        """See `OpenBlock`."""
        return tokens + self.dropout(self.mlp(self.layernorm_after(tokens)))


FOREIGN: tuple[Any, ...] = (TimmBlock, TransformersBlock)


def opening(block: nn.Module) -> type | None:
    """What opens a block: `object` where it is open already, None where nothing does."""
    if isinstance(block, OpenBlock):
        return object
    return next((parts for parts in FOREIGN if parts.fits(block)), None)


@cache
def opened_class(kind: type, parts: type, mixin: type) -> type:
    """A subclass of a block's class with the methods of `parts` and, over all, of `mixin`; the same one every time."""
    bases = (mixin, kind) if parts is object else (mixin, parts, kind)
    return type(f"{mixin.__name__}{kind.__name__}", bases, {"__module__": kind.__module__})


def encoder_blocks(network: nn.Module) -> list[str]:
    """The names of the blocks that are open or can be opened, in the order of definition."""
    return [name for name, module in network.named_modules() if opening(module) is not None]


def prefix_tokens(network: nn.Module) -> int:
    """How many of the first tokens are no places of the input: class token, distillation token, registers."""
    for module in network.modules():
        for name in ("prefix_tokens", "num_prefix_tokens"):  # ours and timm's
            if isinstance(count := getattr(module, name, None), int):
                return count
    tokens = {name.rpartition(".")[2] for name, _ in network.named_parameters()}
    return len(tokens & {"cls_token", "distillation_token"})  # transformers


def token_count(network: nn.Module, example: Tensor, blocks: list[str]) -> int:
    """How many tokens enter the first of the blocks.

    Raises `PruneryError` if they do not each run once, in order: what is merged in one could not be told in the next.
    """
    seen: list[tuple[str, int]] = []
    modules = dict(network.named_modules())
    hooks = [modules[name].register_forward_pre_hook(_noting(seen, name)) for name in blocks]
    try:
        with torch.no_grad():
            network(example)
    finally:
        for hook in hooks:
            hook.remove()
    if [name for name, _ in seen] != blocks:
        raise PruneryError("its blocks do not run once each, in the order of their definition: tokens cannot be merged")
    return seen[0][1]


def _noting(seen: list[tuple[str, int]], name: str) -> Any:
    def note(block: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        seen.append((name, inputs[0].shape[1]))

    return note


def read_beyond(network: nn.Module, example: Tensor, last: str, prefix: int) -> bool:
    """Whether anything but the first `prefix` tokens behind the block `last` has a part in the logits."""

    def spoil(block: nn.Module, inputs: Any, output: Tensor) -> Tensor:
        return torch.cat([output[:, :prefix], torch.full_like(output[:, prefix:], torch.nan)], dim=1)

    hook = network.get_submodule(last).register_forward_hook(spoil)
    try:
        with torch.no_grad():
            return not bool(network(example).isfinite().all())
    finally:
        hook.remove()
