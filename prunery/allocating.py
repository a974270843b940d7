"""Which layer gives how much: measured sensitivities and one target for the whole network to a share for each layer.

The loss of layers compressed together is estimated by the sum of what each costs alone. Measured curves are noisy, so
each is replaced by its monotone and then its convex envelope; for those the best shares are found exactly, and they
grow with the target, layer by layer. Imports no torch by itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from typing import Any, NamedTuple

from prunery.errors import PruneryError


@dataclass(frozen=True)
class Curve:
    """Loss (nats) of the network with one layer alone compressed by each share (0..1, ascending)."""

    shares: tuple[float, ...]
    losses: tuple[float, ...]


class Piece(NamedTuple):
    """A straight piece of an envelope: from `start` to `stop` the layer gives up cost at `price` per unit."""

    price: float
    key: str
    start: float
    stop: float


def curves(rows: Mapping[str, Mapping[str, Any]], keys: Iterable[str], mode: str = "weights") -> dict[str, Curve]:
    """The curves in what `calibrate=sensitivity` found, from the dense network's loss at share 0 on.

    `mode` says what the shares are of, `weights` or `channels`. Raises `PruneryError` naming a key without a curve.
    """
    found = {}
    for key in keys:
        if not {"share", mode} <= set(rows.get(key, ())):
            raise PruneryError(
                f"it was not measured what {key} suffers by losing {mode}: name a variant of calibrate=sensitivity "
                f"with mode: {mode}, or name the layer under exclude"
            )
        row = rows[key]
        points = {0.0: float(row["dense_loss"])} | dict(zip(row["share"].tolist(), row["loss"].tolist(), strict=True))
        found[key] = Curve(tuple(points), tuple(points.values()))
    return found


def envelope(curve: Curve) -> Curve:
    """The greatest convex curve below the nearest non-decreasing one (least squares), with its corners alone."""
    corners: list[tuple[float, float]] = []
    for point in zip(curve.shares, ascending(curve.losses), strict=True):
        while len(corners) > 1 and _slope(corners[-2], corners[-1]) >= _slope(corners[-2], point):
            corners.pop()
        corners.append(point)
    shares, losses = zip(*corners, strict=True)
    return Curve(shares, losses)


def ascending(values: Sequence[float]) -> list[float]:
    """The nearest non-decreasing sequence in least squares: isotonic regression by pooling adjacent violators."""
    pools: list[tuple[float, int]] = []
    for value in values:
        pools.append((value, 1))
        while len(pools) > 1 and pools[-2][0] > pools[-1][0]:
            (low, many), (high, more) = pools.pop(-2), pools.pop()
            pools.append(((low * many + high * more) / (many + more), many + more))
    return [value for value, count in pools for _ in range(count)]


def _slope(first: tuple[float, float], second: tuple[float, float]) -> float:
    return (second[1] - first[1]) / (second[0] - first[0])


def allocate(measured: Mapping[str, Curve], costs: Mapping[str, float], amount: float) -> dict[str, float]:
    """The share each layer gives, so that together they give `amount` at the least sum of estimated losses.

    `costs` says what a whole layer costs (weights, parameters, multiply-accumulates), in the unit of `amount`. Pieces
    of equal price are used to the same extent. Raises `PruneryError` if the measured shares do not reach that far.
    """
    shares, missing = dict.fromkeys(measured, 0.0), amount
    for _, group in groupby(sorted(_pieces(measured, costs)), key=lambda piece: piece.price):
        pieces = list(group)
        offered = sum(costs[piece.key] * (piece.stop - piece.start) for piece in pieces)
        part = min(1.0, missing / offered)
        for piece in pieces:
            shares[piece.key] = piece.start + part * (piece.stop - piece.start)
        missing -= part * offered
        if missing <= 0:
            break
    if missing > 1e-9 * max(amount, 1.0):
        raise PruneryError(
            f"the shares at which sensitivity was measured give {(amount - missing) / amount:.1%} of what is asked "
            "for: measure larger shares, or ask for less"
        )
    return shares


def _pieces(measured: Mapping[str, Curve], costs: Mapping[str, float]) -> Iterable[Piece]:
    for key, curve in measured.items():
        corners = envelope(curve)
        for start, stop in pairwise(zip(corners.shares, corners.losses, strict=True)):
            if costs[key] > 0:
                yield Piece(_slope(start, stop) / costs[key], key, start[0], stop[0])


def estimated_rise(measured: Mapping[str, Curve], shares: Mapping[str, float]) -> float:
    """The sum over layers of how far the envelope has risen at each share, in nats."""
    return sum(_at(envelope(measured[key]), share) - envelope(measured[key]).losses[0] for key, share in shares.items())


def _at(curve: Curve, share: float) -> float:
    """A curve between its points."""
    for (start, low), (stop, high) in pairwise(zip(curve.shares, curve.losses, strict=True)):
        if share <= stop:
            return low + (high - low) * (share - start) / (stop - start)
    return curve.losses[-1]


def whole_counts(sizes: Mapping[str, int], shares: Mapping[str, float], total: int) -> dict[str, int]:
    """Whole numbers of weights near `shares` of `sizes` that add up to `total`: the largest remainders are rounded up.

    `shares` of `sizes` should add up to about `total`.
    """
    exact = {key: shares[key] * size for key, size in sizes.items()}
    counts = {key: int(value) for key, value in exact.items()}
    order = sorted(counts, key=lambda key: counts[key] - exact[key])
    for key in order[: total - sum(counts.values())]:
        counts[key] += 1
    return counts
