"""Claims about quantities that an analysis found: decided by their intervals, of which an end may be open."""

from __future__ import annotations

import math
from collections.abc import Iterator

from prunery.errors import unknown
from prunery.findings import Quantity
from prunery.reporting.cases import FAILS, HOLDS, NOT_TESTABLE, UNDECIDED, Case, MissingError
from prunery.reporting.kinds import Expectation, QuantitiesTest, QuantityTest
from prunery.reporting.results import Results

Ends = tuple[float, float]


def judge_quantity(test: QuantityTest, results: Results) -> Iterator[Case]:
    """One case for each quantity."""
    for name in test.quantity:
        try:
            found = _quantity(results, test.analyse, name)
            yield _decided(name, found.value, _ends(found, name), found.count, test.expect)
        except MissingError as missing:
            yield Case(name, NOT_TESTABLE, str(missing))


def judge_quantities(test: QuantitiesTest, results: Results) -> Iterator[Case]:
    """One case for each pair."""
    for names in test.pairs():
        told = f"{names[0]} {'/' if test.ratio else '−'} {names[1]}"  # noqa: RUF001
        try:
            a, b = (_quantity(results, test.analyse, name) for name in names)
            ends = _ends(a, names[0]), _ends(b, names[1])
            value = ratio(a, b, *ends) if test.ratio else difference(a, b, *ends)
            yield _decided(told, *value, min(a.count, b.count), test.expect)
        except MissingError as missing:
            yield Case(told, NOT_TESTABLE, str(missing))


def difference(a: Quantity, b: Quantity, of_a: Ends, of_b: Ends) -> tuple[float | None, Ends]:
    """a - b and its interval from those of two independent estimates.

    MOVER, the method of variance estimates recovery (Zou and Donner, Statistics in Medicine 2008, equation 6).
    With arms a - l, u - a of each, the lower arm is the root of the sum of the squares of a's lower and b's upper one.
    Where a value or an end is missing, the interval holds every difference that the two intervals admit.
    """
    widest = of_a[0] - of_b[1], of_a[1] - of_b[0]
    if a.value is None or b.value is None:
        return None, widest
    value = a.value - b.value
    low = value - math.hypot(a.value - of_a[0], of_b[1] - b.value)
    high = value + math.hypot(of_a[1] - a.value, b.value - of_b[0])
    return value, (low, high)


def ratio(a: Quantity, b: Quantity, of_a: Ends, of_b: Ends) -> tuple[float | None, Ends]:
    """a / b, as the difference of logarithms. Raises `MissingError` if anything is not above zero."""
    if any(number is not None and number <= 0 for number in (*of_a, *of_b, a.value, b.value)):
        raise MissingError("a ratio needs quantities whose intervals lie above zero")
    first, second = (each.model_copy(update={"value": each.value and math.log(each.value)}) for each in (a, b))
    ends = ((math.log(low), math.log(high)) for low, high in (of_a, of_b))
    value, (low, high) = difference(first, second, *ends)
    return None if value is None else _exp(value), (_exp(low), _exp(high))


def _exp(exponent: float) -> float:
    """The exponential, infinite where it is beyond the largest float."""
    try:
        return math.exp(exponent)
    except OverflowError:
        return math.inf


def _quantity(results: Results, analysis: str, name: str) -> Quantity:
    if analysis not in results.analyses:
        raise MissingError(f"the study makes no analysis {analysis!r}")
    found = results.analyses[analysis].quantities
    if name not in found:
        raise MissingError(f"analysis {analysis}: {unknown('quantity', name, found)}")
    return found[name]


def _ends(found: Quantity, name: str) -> Ends:
    """The interval, an open end being infinite. Raises `MissingError` if nothing is known."""
    if found.value is None and not found.known:
        raise MissingError(f"{name}: {found.reason}")
    if not found.known:
        return math.nan, math.nan
    return -math.inf if found.low is None else found.low, math.inf if found.high is None else found.high


def _decided(name: str, value: float | None, ends: Ends, count: int, expect: Expectation) -> Case:
    """Holds if all that the interval admits is as expected, fails if none of it is.

    A value beyond what was tried decides only if the bound lies on this side of what was tried.
    """
    low, high = (end if math.isfinite(end) else None for end in ends)
    verdict, reason = UNDECIDED, "the interval straddles the bound"
    if any(map(math.isnan, ends)):
        reason = "there is no interval"
    elif _met(expect, ends) == {True}:
        verdict, reason = HOLDS, ""
    elif _met(expect, ends) == {False}:
        verdict, reason = FAILS, ""
    elif value is None:
        verdict, reason = NOT_TESTABLE, f"{name} lies beyond what was tried"
    return Case(name, verdict, reason, value, low, high, count)


def _met(expect: Expectation, ends: Ends) -> set[bool]:
    return {expect.met_by(end) for end in ends}
