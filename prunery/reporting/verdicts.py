"""From claims and results to verdicts. A verdict is computed, never set: holds, fails, undecided, or not testable."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from prunery.reporting.cases import FAILS, HOLDS, NOT_TESTABLE, UNDECIDED, Case, MissingError, combine, held
from prunery.reporting.claims import Claim
from prunery.reporting.kinds import TIMED, Difference, Pick, RankCorrelation, Threshold, Wilcoxon
from prunery.reporting.quantified import judge_quantities, judge_quantity
from prunery.reporting.results import Results
from prunery.reporting.statistics import CONFIDENCE, Interval, clipped, mean_interval, rank_correlation, signed_rank


@dataclass(frozen=True)
class Verdict:
    """A claim and what the results say of it."""

    claim: Claim
    verdict: str
    reason: str = ""
    cases: list[Case] = field(default_factory=list)


def judge(claim: Claim, results: Results, profile: str | None) -> Verdict:
    """Test a claim. `profile` is the study's, or None where it is not known."""
    if profile is not None and profile not in claim.scale:
        reason = f"needs the profile {' or '.join(claim.scale)}, this is {profile}"
        return Verdict(claim, NOT_TESTABLE, reason)
    cases = list(_JUDGES[claim.test.kind](claim.test, results))
    verdict = combine([case.verdict for case in cases])
    reason = next((case.reason for case in cases if case.verdict == verdict and case.reason), "")
    return Verdict(claim, verdict, reason, cases)


# --- picking results -------------------------------------------------------------------------------------------------


def _rows(results: Results, base: str, recipe: str, pick: Pick) -> pd.DataFrame:
    """The replicas of one recipe, indexed by seed."""
    table = results.replicas
    if not table.empty:
        table = table[(table["base"] == base) & (table["recipe"] == recipe)]
    if not table.empty:
        table = table[table["evaluate"] == (pick.evaluate or table["evaluate"].iloc[0])]
    if table.empty:
        raise MissingError(f"no evaluation of {base}/{recipe}")
    return table.drop_duplicates("seed").set_index("seed")


def _metric(rows: pd.DataFrame, metric: str, name: str) -> pd.Series[float]:
    if metric not in rows or rows[metric].isna().any():
        raise MissingError(f"{name} has no {metric}")
    return rows[metric].astype(float)


def _differences(test: Difference | Wilcoxon, results: Results, pair: tuple[str, str, str, str]) -> pd.Series[float]:
    """a - b (or its share of b) for each seed that both have."""
    base_a, recipe_a, base_b, recipe_b = pair
    a = _metric(_rows(results, base_a, recipe_a, test.a), test.metric, f"{base_a}/{recipe_a}")
    b = _metric(_rows(results, base_b, recipe_b, test.b), test.metric, f"{base_b}/{recipe_b}")
    a, b = a.align(b, join="inner")
    if a.empty:
        raise MissingError(f"{base_a}/{recipe_a} and {base_b}/{recipe_b} share no seed")
    return (a - b) / b if getattr(test, "relative", False) else a - b


def _pair_name(pair: tuple[str, str, str, str]) -> str:
    base_a, recipe_a, base_b, recipe_b = pair
    return f"{base_a}: {recipe_a} − {recipe_b}" if base_a == base_b else f"{base_a}/{recipe_a} − {base_b}/{recipe_b}"  # noqa: RUF001


# --- the tests -------------------------------------------------------------------------------------------------------


def _judge_difference(test: Difference, results: Results) -> Iterator[Case]:
    for pair in test.pairs():
        try:
            yield held(_pair_name(pair), mean_interval(_differences(test, results, pair)), test.expect)
        except MissingError as missing:
            yield Case(_pair_name(pair), NOT_TESTABLE, str(missing))


def _judge_wilcoxon(test: Wilcoxon, results: Results) -> Iterator[Case]:
    try:
        parts = [_differences(test, results, pair) for pair in test.pairs()]
    except MissingError as missing:
        yield Case("all pairs", NOT_TESTABLE, str(missing))
        return
    pooled = np.concatenate(parts)
    found = signed_rank(pooled - test.expect.bound)
    above, below = found or (1.0, 1.0)
    wanted, against = (above, below) if test.expect.sign.startswith(">") else (below, above)
    level = 1 - CONFIDENCE
    verdict = HOLDS if wanted < level else FAILS if against < level else UNDECIDED
    reason = "neither side is significant" if verdict == UNDECIDED else ""
    yield Case("all pairs", verdict, reason, float(np.median(pooled)), count=len(pooled), p_value=wanted)


def _judge_rank_correlation(test: RankCorrelation, results: Results) -> Iterator[Case]:
    for base in test.of.base:
        try:
            interval = clipped(mean_interval(list(_correlations(test, results, base))), -1.0, 1.0)
            yield held(f"{base}: {test.x} and {test.y}", interval, test.expect)
        except MissingError as missing:
            yield Case(base, NOT_TESTABLE, str(missing))


def _correlations(test: RankCorrelation, results: Results, base: str) -> Iterator[float]:
    """Spearman's rho over the recipes, for each seed that all of them have."""
    columns: dict[str, list[pd.Series[float]]] = {"x": [], "y": []}
    for recipe in test.of.recipes:
        rows = _rows(results, base, recipe, test.of)
        for side, metric in (("x", test.x), ("y", test.y)):
            columns[side].append(_metric(rows, metric, f"{base}/{recipe}"))
    x, y = (pd.concat(parts, axis=1, join="inner") for parts in columns.values())
    for seed in x.index:
        rho = rank_correlation(x.loc[seed], y.loc[seed])
        if rho is None:
            raise MissingError(f"{base}: a rank correlation needs three recipes that differ in {test.x} and {test.y}")
        yield rho


def _judge_threshold(test: Threshold, results: Results) -> Iterator[Case]:
    for base in test.of.base:
        for recipe in test.of.recipes:
            if test.metric in TIMED:
                yield from _timed_cases(test, results, base, recipe)
            else:
                yield _seeded_case(test, results, base, recipe)


def _seeded_case(test: Threshold, results: Results, base: str, recipe: str) -> Case:
    name = f"{base}/{recipe}"
    try:
        values = _metric(_rows(results, base, recipe, test.of), test.metric, name)
    except MissingError as missing:
        return Case(name, NOT_TESTABLE, str(missing))
    return held(name, mean_interval(values), test.expect)


def _timed_cases(test: Threshold, results: Results, base: str, recipe: str) -> Iterator[Case]:
    """One case for each backend that was asked for; `all` are those that gave a time, of which there must be one."""
    table = results.bench
    if not table.empty:
        table = table[(table["base"] == base) & (table["recipe"] == recipe)]
    rows: dict[str, dict[Any, Any]] = {row["backend"]: row for row in table.to_dict("records")}
    timed = [name for name, row in rows.items() if row["status"] == "ok"]
    wanted = (timed or ["any backend"]) if test.backend == ["all"] else test.backend
    for backend in wanted:
        name = f"{base}/{recipe} on {backend}"
        if backend in timed:
            yield _timed_case(name, rows[backend], test)
        else:
            reason = rows[backend]["status"] if backend in rows else "not benched"
            yield Case(name, NOT_TESTABLE, f"{name}: {reason}")


def _timed_case(name: str, row: dict[str, Any], test: Threshold) -> Case:
    value = row.get(test.metric)
    if value is None or pd.isna(value):
        return Case(name, NOT_TESTABLE, f"{name}: no {test.metric}")
    low, high = (row.get(f"{test.metric}_{end}", value) for end in ("low", "high"))
    precisions = f"{name} ({row['precision']} to {row['reference_precision']})"
    return held(precisions, Interval(float(value), float(low), float(high), 0), test.expect)


_JUDGES: dict[str, Any] = {
    "difference": _judge_difference,
    "wilcoxon": _judge_wilcoxon,
    "rank_correlation": _judge_rank_correlation,
    "threshold": _judge_threshold,
    "quantity": judge_quantity,
    "quantities": judge_quantities,
}
