"""The rows of attention's weights that make queries, keys and values, and those of each head.

`key[q]`, `key[k]` and `key[v]` are the thirds of a weight that makes all three at once; `key[q].3` is the fourth head
of the first; `key.3` that of a weight which makes one of the three.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from torch import nn

from prunery.layers import compressible
from prunery.measuring import Split

FUSED = ("qkv", "Wqkv", "qkv_proj", "in_proj")
"""What layers are called that make queries, keys and values at once, one kind after the other."""
SINGLE = ("q", "k", "v", "q_proj", "k_proj", "v_proj", "query", "key", "value", "to_q", "to_k", "to_v")
"""What layers are called that make one of them."""
HEADS = ("num_heads", "num_attention_heads", "n_heads", "heads")
"""Where the module around them remembers how many heads there are."""


def attention_parts(network: nn.Module, split: Split) -> dict[str, tuple[str, slice]]:
    """Name of the part -> key of its weight, and which rows it is; empty for `whole`, or without such layers."""
    found: dict[str, tuple[str, slice]] = {}
    for key, layer in compressible(network) if split != "whole" else ():
        owner, _, name = key.removesuffix("weight").rstrip(".").rpartition(".")
        for label, rows in _kinds(name, len(layer.get_parameter("weight"))).items():
            if label:
                found[key + label] = key, rows
            if split == "heads":
                heads = _heads(vars(network.get_submodule(owner)))
                found |= {f"{key}{label}.{index}": (key, part) for index, part in enumerate(_even(rows, heads))}
    return found


def _kinds(name: str, rows: int) -> Mapping[str, slice]:
    """The kinds of rows that a layer of this name has, by what is put behind its key."""
    if name in FUSED:
        return dict(zip(("[q]", "[k]", "[v]"), _even(slice(0, rows), 3), strict=False))
    return {"": slice(0, rows)} if name in SINGLE else {}


def _even(rows: slice, parts: int) -> Iterator[slice]:
    """As many parts of one size, in order; none if the rows cannot be divided so."""
    size, rest = divmod(rows.stop - rows.start, parts) if parts else (0, 1)
    for index in range(0 if rest else parts):
        yield slice(rows.start + index * size, rows.start + (index + 1) * size)


def _heads(remembered: Mapping[str, Any]) -> int:
    """The number of heads that a module remembers; 0 if it does not."""
    return next((remembered[name] for name in HEADS if isinstance(remembered.get(name), int)), 0)
