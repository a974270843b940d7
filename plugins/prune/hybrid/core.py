"""When a recipe has lost too much accuracy for magnitude pruning to go on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def has_dropped(history: Mapping[str, Mapping[str, Any]], drop: float, reference: float) -> bool:
    """Whether a network on the way, the last included, lies more than `drop` points below the reference.

    `history` maps the folder of each network, the dense one first, to its evaluation. Networks that were pruned and not
    trained since do not count: of theirs, only the recovery is of interest. The reference is the first network that
    counts whose weights are zero to a share of at least `reference`; until there is one nothing has dropped.
    """
    trained = [row for folder, row in history.items() if not folder.rpartition("/")[2].startswith("prune=")]
    first = next((place for place, row in enumerate(trained) if row["weight_sparsity"] >= reference), None)
    if first is None:
        return False
    limit = trained[first]["validation"]["accuracy"] - drop / 100
    return any(row["validation"]["accuracy"] < limit for row in trained[first:])
