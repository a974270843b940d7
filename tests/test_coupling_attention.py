"""Which heads and hidden units of attention go together, in the ways that networks write it down."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from prunery.coupling.structure import structure_of
from prunery.coupling.trials import comes_out_right, proved_structure, scrambled
from prunery.edits import cut_channels

IMAGES = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def groups(network):
    """By name, the number of units and the other layers of each group."""
    found = proved_structure(network.eval(), IMAGES).groups
    return {name: (len(group), *(key for key in group.layers if key != name)) for name, group in found.items()}


def removed(network, kept):
    """The network without what goes, once it was seen to compute what it does with it at zero."""
    found = proved_structure(network.eval(), IMAGES)
    kept = {name: torch.tensor(mask, dtype=torch.bool) for name, mask in kept.items()}
    assert comes_out_right(scrambled(network), found, kept, IMAGES.double()) is None
    return cut_channels(copy.deepcopy(network), found.edit(network, kept))


class Fused(nn.Module):
    """Class token, positions, and attention with one map for queries, keys and values, as vision transformers have."""

    def __init__(self, fast):
        super().__init__()
        self.heads, self.width, self.fast = 3, 4, fast
        self.stem, self.qkv, self.proj, self.head = (
            nn.Linear(3, 10),
            nn.Linear(10, 36),
            nn.Linear(12, 10),
            nn.Linear(10, 4),
        )
        self.token, self.places = nn.Parameter(torch.rand(1, 1, 10)), nn.Parameter(torch.rand(1, 65, 10))
        self.norm = nn.LayerNorm(10)

    def forward(self, x):
        x = self.stem(x.flatten(2).transpose(1, 2))
        x = torch.cat([self.token.expand(len(x), -1, -1), x], 1) + self.places
        q, k, v = self.qkv(self.norm(x)).reshape(len(x), 65, 3, self.heads, self.width).permute(2, 0, 3, 1, 4).unbind(0)
        mixed = F.scaled_dot_product_attention(q, k, v) if self.fast else (q @ k.transpose(2, 3)).softmax(-1) @ v
        return self.head((x + self.proj(mixed.transpose(1, 2).reshape(len(x), 65, -1)))[:, 0])


@pytest.mark.parametrize("fast", [True, False])
def test_fused_attention_loses_heads(fast):
    assert groups(Fused(fast)) == {"stem.weight": (10, "proj.weight"), "qkv.weight": (3,)}
    small = removed(Fused(fast), {"qkv.weight": [1, 0, 1], "stem.weight": [1, 1, 1, 0, 1, 1, 1, 1, 0, 1]})
    assert (small.heads, small.width) == (2, 4)
    assert (small.qkv.weight.shape, small.proj.weight.shape) == ((24, 8), (8, 8))
    assert (small.places.shape, small.token.shape) == ((1, 65, 8), (1, 1, 8))


class Separate(nn.Module):
    """Queries, keys and values by maps of their own; the number of heads follows from their size."""

    def __init__(self):
        super().__init__()
        self.size = 4
        self.embedding, self.output = nn.Embedding(20, 8), nn.Linear(8, 4)
        self.query, self.key, self.value, self.dense = (
            nn.Linear(8, 12),
            nn.Linear(8, 12),
            nn.Linear(8, 12),
            nn.Linear(12, 8),
        )

    def forward(self, tokens):
        x, mask = (
            self.embedding(tokens),
            torch.zeros(1, 1, 1, tokens.shape[1]).masked_fill(tokens[:, None, None] == 0, -9e9),
        )
        shape = (*x.shape[:-1], -1, self.size)
        q, k, v = (part(x).view(shape).transpose(1, 2) for part in (self.query, self.key, self.value))
        mixed = ((q @ k.transpose(-1, -2)) / 2 + mask).softmax(-1) @ v
        return self.output((x + self.dense(mixed.transpose(1, 2).reshape(*x.shape[:-1], -1))).amax(1))


def test_separate_attention_loses_heads():
    tokens = torch.randint(0, 20, (2, 7), generator=torch.Generator().manual_seed(0))
    found = proved_structure(Separate().eval(), tokens)
    assert {name: (len(group), *group.layers) for name, group in found.groups.items()} == {
        "query.weight": (3, "query.weight", "key.weight", "value.weight"),
        "dense.weight": (8, "dense.weight"),
    }
    assert found.groups["query.weight"].width == 4


class Encoder(nn.Module):
    """A layer of torch's own, which checks its sizes and reads its attention's weights without calling it."""

    def __init__(self):
        super().__init__()
        self.stem, self.head = nn.Linear(3, 8), nn.Linear(8, 4)
        self.layer = nn.TransformerEncoderLayer(8, 2, 12, batch_first=True)

    def forward(self, x):
        return self.head(self.layer(self.stem(x.flatten(2).transpose(1, 2)))[:, 0])


def test_attention_of_torch_keeps_its_heads_and_loses_hidden_units():
    assert groups(Encoder()) == {"layer.linear1.weight": (12,)}
    assert removed(Encoder(), {"layer.linear1.weight": [1] * 9 + [0] * 3}).layer.linear2.in_features == 9


def test_the_network_is_left_as_it_was():
    network = Fused(True).train()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    found = structure_of(network, IMAGES[:1])
    assert network.training
    assert type(network.heads) is int
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
    assert found.groups["qkv.weight"].layers["qkv.weight"].tolist() == [
        unit for _ in range(3) for unit in (0, 1, 2) for _ in range(4)
    ]
