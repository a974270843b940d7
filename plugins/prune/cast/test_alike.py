"""CAST with inputs that count alike: magnitude with restoration, the baseline."""

from __future__ import annotations

import pytest
import torch

from prunery.errors import PruneryError
from prunery.registry import registry


def method(**settings: object) -> object:
    return registry().configured("prune", "cast", {"inputs": "alike", "prior": 0.0, **settings})


@pytest.mark.parametrize("restore", [False, True])
def test_the_largest_of_each_group_stay(restore: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    dense = torch.randn(6, 16, generator=generator)
    pruned = dense.masked_fill(torch.rand(6, 16, generator=generator) < 0.6, 0)
    rows = {"fc.weight": {"gives_logits": torch.tensor(False)}}
    found = method(restore=restore).project(  # type: ignore[attr-defined]
        {"fc.weight": pruned}, {"fc.weight": dense} if restore else {}, {"moments": rows}, generator
    )["fc.weight"]
    values = pruned.where(pruned != 0, dense) if restore else pruned
    largest = values.abs().unflatten(1, (4, 4)).topk(2, dim=2).indices
    wanted = torch.zeros(6, 4, 4, dtype=torch.bool).scatter(2, largest, True).flatten(1) & (values != 0)
    assert torch.equal(found.mask, wanted)
    assert torch.equal(found.weight, values * wanted)
    assert (wanted.sum() == 6 * 8) == restore, "what is gone leaves groups short"


def test_they_give_no_order() -> None:
    with pytest.raises(PruneryError, match="permute: none"):
        method(permute="search")
