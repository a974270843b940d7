"""What a test finds in one situation, and how its interval decides."""

from __future__ import annotations

from dataclasses import dataclass

from prunery.reporting.kinds import Expectation
from prunery.reporting.statistics import Interval

HOLDS, FAILS, UNDECIDED, NOT_TESTABLE = "holds", "fails", "undecided", "not testable at this scale"


@dataclass(frozen=True)
class Case:
    """One of the situations that a claim speaks of: what was found and what follows. `count` is seeds or pairs."""

    name: str
    verdict: str
    reason: str = ""
    estimate: float | None = None
    low: float | None = None
    high: float | None = None
    count: int = 0
    p_value: float | None = None


class MissingError(Exception):
    """The results do not hold what a case needs."""


def combine(verdicts: list[str]) -> str:
    """The verdict of all cases together: one failure fails the claim, and it holds only if every case holds."""
    for strongest in (FAILS, NOT_TESTABLE, UNDECIDED):
        if strongest in verdicts:
            return strongest
    return HOLDS if verdicts else NOT_TESTABLE


def decide(interval: Interval, expect: Expectation) -> str:
    """Holds if the whole interval is as expected, fails if none of it is, else undecided; so is a single seed."""
    if interval.low is None or interval.high is None:
        return UNDECIDED
    met = {expect.met_by(interval.low), expect.met_by(interval.high)}
    return UNDECIDED if len(met) == 2 else HOLDS if met == {True} else FAILS


def held(name: str, interval: Interval, expect: Expectation) -> Case:
    """A case that its interval decides."""
    verdict = decide(interval, expect)
    why = "one seed gives no interval" if interval.count == 1 else "the interval straddles the bound"
    reason = why if verdict == UNDECIDED else ""
    return Case(name, verdict, reason, interval.mean, interval.low, interval.high, interval.count)
