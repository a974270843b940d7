"""Latency of a network, of its dense parent and of a copy of that, in turns."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, final

from pydantic import Field

from prunery import Bencher, BenchSettings, hookimpl


class LatencySettings(BenchSettings):
    """How long and how often."""

    rounds: int = Field(50, ge=5, description="measurements of each network")
    warmup: int = Field(3, ge=1, description="rounds before those, discarded")
    seconds: float = Field(
        10.0, gt=0, description="seconds per backend after which no further round starts (once five are done)"
    )
    shortest: float = Field(
        0.001, ge=0, description="seconds a measurement lasts at least: short calls are repeated and averaged"
    )


@final
class Latency(Bencher):
    """Wall-clock time of a call."""

    name = "latency"
    Settings = LatencySettings

    def times(self, calls: Sequence[Callable[[], Any]]) -> list[list[float]]:
        """See `Bencher.times`; which of them goes first changes from round to round."""
        from .core import interleaved

        settings = self.settings
        return interleaved(calls, settings.rounds, settings.warmup, settings.seconds, settings.shortest)


@hookimpl
def register_methods() -> list[type]:
    """The methods of this plugin."""
    return [Latency]
