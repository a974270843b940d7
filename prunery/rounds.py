"""From the seconds of calls that were taken in turns to figures with intervals."""

from __future__ import annotations

from typing import Any

import numpy as np

RESAMPLES = 2000


def statistics(network: list[float], dense: list[float], twin: list[float], batch: int) -> dict[str, Any]:
    """Latencies in ms per batch, speed-up, control and throughput, from the seconds of each round.

    The speed-up is the ratio of the median latencies, dense / network. The control is the same ratio for the twin, a
    second copy of the dense network: what it differs from 1 is what the machine and the runtime add. Intervals hold
    95 %: percentile bootstrap, seeded, over whole rounds, since what runs side by side varies together.
    """
    seconds = np.array([network, dense, twin])
    drawn = np.random.default_rng(0).integers(len(network), size=(RESAMPLES, len(network)))
    exact, resampled = np.median(seconds, axis=1), np.median(seconds[:, drawn], axis=2)
    return {
        "latency_ms": _interval("median", 1000 * exact[0], 1000 * resampled[0]),
        "reference_latency_ms": _interval("median", 1000 * exact[1], 1000 * resampled[1]),
        "speedup": _interval("ratio", exact[1] / exact[0], resampled[1] / resampled[0]),
        "control": _interval("ratio", exact[1] / exact[2], resampled[1] / resampled[2]),
        "throughput": batch / float(exact[0]),
        "rounds": len(network),
    }


def _interval(name: str, exact: float, resampled: np.ndarray) -> dict[str, float]:
    """A figure and its 95 % bootstrap interval."""
    low, high = np.quantile(resampled, (0.025, 0.975))
    return {name: float(exact), "low": float(low), "high": float(high)}
