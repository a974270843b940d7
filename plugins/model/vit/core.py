"""The small vision transformer.

Attention keeps one small query, key and value map per head, each seeing only its head's slice of the token, and has no
output projection; that is how the published parameter counts come about.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn


def patches_of(side: int, grid: int) -> tuple[int, int]:
    """(patches, pixels per patch) along a side of `side` pixels.

    `grid` patches, fewer where that would leave them under two pixels (8 -> 4 patches of 2). What the patches do not
    cover is lost by resizing the image to their product (32 -> 28 for a grid of 7).
    """
    count = min(grid, max(1, side // 2))
    return count, side // count


def sinusoids(length: int, dim: int) -> Float[Tensor, "length dim"]:
    """Fixed positions: sin(i / 10000^(j / dim)) for even j, cos(i / 10000^((j - 1) / dim)) for odd j."""
    column = torch.arange(dim)
    even = column - column % 2
    angle = torch.arange(length).unsqueeze(1) / 10000 ** (even / dim)
    return torch.where(column % 2 == 0, angle.sin(), angle.cos())


class HeadwiseAttention(nn.Module):
    """Self-attention with maps of size (dim / heads)^2 per head."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.size = dim // heads
        self.query, self.key, self.value = (
            nn.ModuleList(nn.Linear(self.size, self.size) for _ in range(heads)) for _ in range(3)
        )

    def forward(self, tokens: Float[Tensor, "batch length dim"]) -> Float[Tensor, "batch length dim"]:
        """Each head's answer to its slice, side by side."""
        return self.explained(tokens)[0]

    def explained(
        self, tokens: Float[Tensor, "batch length dim"], bias: Float[Tensor, "batch 1 1 length"] | None = None
    ) -> tuple[Float[Tensor, "batch length dim"], Float[Tensor, "batch length head_dim"]]:
        """The answer, and the keys averaged over heads; `bias` is added to the scores of the tokens looked at."""
        slices = tokens.split(self.size, dim=-1)
        maps = zip(self.query, self.key, self.value, slices, strict=True)
        heads = [(query(part), key(part), value(part)) for query, key, value, part in maps]
        answer = torch.cat([self._attend(*head, bias) for head in heads], dim=-1)
        return answer, torch.stack([key for _, key, _ in heads]).mean(0)

    def _attend(self, query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None) -> Tensor:
        scores = query @ key.transpose(-2, -1) / math.sqrt(self.size)
        return (scores if bias is None else scores + bias[:, 0]).softmax(dim=-1) @ value


class Mlp(nn.Module):
    """Linear, GELU, linear."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.fc1, self.gelu, self.fc2 = nn.Linear(dim, hidden), nn.GELU(), nn.Linear(hidden, dim)

    def forward(self, tokens: Float[Tensor, "batch length dim"]) -> Float[Tensor, "batch length dim"]:
        """Every token by itself."""
        return self.fc2(self.gelu(self.fc1(tokens)))


class Block(nn.Module):
    """Pre-norm encoder block: both sub-layers behind a LayerNorm and beside a residual path.

    It can be entered between the two, as `prunery.encoders.OpenBlock` says.
    """

    def __init__(self, dim: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.norm1, self.attention = nn.LayerNorm(dim), HeadwiseAttention(dim, heads)
        self.norm2, self.mlp = nn.LayerNorm(dim), Mlp(dim, hidden)

    def forward(self, tokens: Float[Tensor, "batch length dim"]) -> Float[Tensor, "batch length dim"]:
        """Tokens with both sub-layers' answers added."""
        return self.transform(tokens + self.attention(self.norm1(tokens)))

    def attend(
        self, tokens: Float[Tensor, "batch length dim"], bias: Float[Tensor, "batch 1 1 length"] | None = None
    ) -> tuple[Float[Tensor, "batch length dim"], Float[Tensor, "batch length head_dim"]]:
        """Tokens with the attention's answer added, and the keys averaged over heads."""
        answer, keys = self.attention.explained(self.norm1(tokens), bias)
        return tokens + answer, keys

    def transform(self, tokens: Float[Tensor, "batch length dim"]) -> Float[Tensor, "batch length dim"]:
        """Tokens with the MLP's answer added."""
        return tokens + self.mlp(self.norm2(tokens))


class VisionTransformer(nn.Module):
    """Images `[B, C, H, W]` to logits; `shape` is (C, H, W)."""

    positions: Tensor
    prefix_tokens = 1

    def __init__(
        self, shape: tuple[int, int, int], classes: int, dim: int, blocks: int, heads: int, ratio: int, grid: int
    ) -> None:
        super().__init__()
        channels, height, width = shape
        (rows, high), (columns, wide) = patches_of(height, grid), patches_of(width, grid)
        self.rows, self.columns, self.patch = rows, columns, (high, wide)
        self.size, self.resized = (rows * high, columns * wide), (rows * high, columns * wide) != (height, width)
        self.embed = nn.Linear(channels * high * wide, dim)
        self.class_token = nn.Parameter(torch.rand(1, 1, dim))
        self.register_buffer("positions", sinusoids(rows * columns + 1, dim), persistent=False)
        self.blocks = nn.ModuleList(Block(dim, heads, ratio * dim) for _ in range(blocks))
        self.head = nn.Linear(dim, classes)

    def forward(self, images: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch classes"]:
        """Logits, read off the class token."""
        tokens = self.embed(self.patches(images))
        start = self.class_token.expand(tokens.shape[0], -1, -1)
        tokens = torch.cat([start, tokens], dim=1) + self.positions
        for block in self.blocks:
            tokens = block(tokens)
        return self.head(tokens[:, 0])

    def patches(self, images: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch patches pixels"]:
        """The patches row by row, each flattened channel by channel."""
        if self.resized:
            images = F.interpolate(images, self.size, mode="bilinear", align_corners=False)
        tiles = images.unflatten(3, (self.columns, self.patch[1])).unflatten(2, (self.rows, self.patch[0]))
        return tiles.permute(0, 2, 4, 1, 3, 5).flatten(3).flatten(1, 2)


def initialise(network: VisionTransformer, std: float) -> None:
    """Normal weights and class token, biases 0."""
    nn.init.normal_(network.class_token, std=std)
    for layer in network.modules():
        if isinstance(layer, nn.Linear):
            nn.init.normal_(layer.weight, std=std)
            nn.init.zeros_(layer.bias)
