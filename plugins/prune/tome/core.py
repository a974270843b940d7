"""How many tokens each block merges."""

from __future__ import annotations


def tokens_per_block(r: int, blocks: int, schedule: str) -> list[int]:
    """`r` for each of `blocks` blocks, or from 2 r in the first down to 0 in the last in even steps, rounded down.

    Source: Bolya et al., "Token merging: your ViT but faster", 2023, section 4.1 (the two schedules).
    """
    if schedule == "constant" or blocks < 2:
        return [r] * blocks
    return [2 * r * (blocks - 1 - block) // (blocks - 1) for block in range(blocks)]
