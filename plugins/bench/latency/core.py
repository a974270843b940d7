"""Timing calls in turns."""

from __future__ import annotations

import gc
import math
from collections.abc import Callable, Sequence
from time import perf_counter
from typing import Any

LEAST_ROUNDS = 5
Call = Callable[[], Any]


def interleaved(calls: Sequence[Call], rounds: int, warmup: int, seconds: float, shortest: float) -> list[list[float]]:
    """Seconds per call of each, by round: what slows the machine for a while slows all.

    Each call is repeated as often as it takes to last `shortest`, counted after the warm-up. The one that goes first
    changes every round. After `seconds` no round starts, once five are done.
    """
    started = perf_counter()
    for call in [*calls] * warmup:
        call()
    repeats = [max(1, math.ceil(shortest / max(_seconds(call, 1), 1e-9))) for call in calls]
    found: list[list[float]] = [[] for _ in calls]
    gc.collect()
    gc.disable()
    try:
        for number in range(rounds):
            if number >= LEAST_ROUNDS and perf_counter() - started > seconds:
                break
            for place in _order(len(calls), number):
                found[place].append(_seconds(calls[place], repeats[place]))
    finally:
        gc.enable()
    return found


def _order(count: int, number: int) -> list[int]:
    """The order of a round: every call comes first, and after every other, equally often."""
    turned = [(place + number) % count for place in range(count)]
    return turned if number // count % 2 == 0 else turned[::-1]


def _seconds(call: Call, repeats: int) -> float:
    """Seconds per call."""
    start = perf_counter()
    for _ in range(repeats):
        call()
    return (perf_counter() - start) / repeats
