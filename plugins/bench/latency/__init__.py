"""Latency of a network and of its dense parent, in turns."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, final

from pydantic import Field

from prunery import Bencher, BenchSettings, hookimpl


class LatencySettings(BenchSettings):
    """How long and how often."""

    rounds: int = Field(50, ge=5, description="measurements of each of the two networks")
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

    def times(self, network: Callable[[], Any], dense: Callable[[], Any]) -> tuple[list[float], list[float]]:
        """See `Bencher.times`; which of the two goes first changes from round to round."""
        from .core import interleaved

        settings = self.settings
        return interleaved(
            (network, dense), settings.rounds, settings.warmup, settings.seconds, settings.shortest
        )  # fmt: skip


@hookimpl
def register_methods() -> list[type]:
    """The methods of this plugin."""
    return [Latency]
