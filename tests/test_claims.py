"""Claims: what a claims file may say, and verdicts checked against scipy."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from prunery.errors import PruneryError
from prunery.files import save_json
from prunery.findings import Findings, Quantity
from prunery.reporting import quantified
from prunery.reporting.claims import read_claims
from prunery.reporting.results import read_results
from prunery.reporting.verdicts import FAILS, HOLDS, NOT_TESTABLE, UNDECIDED, combine, judge

DENSE = [0.90, 0.92, 0.91, 0.93, 0.92]
PRUNED = [0.88, 0.91, 0.88, 0.92, 0.90]


@pytest.fixture
def results(tmp_path):
    """Dense and pruned networks of two bases; `single` has one seed. One bench with two backends."""
    files: list[Path] = []

    def add(path: str, name: str, value: object) -> None:
        save_json(value, tmp_path / path / name)
        files.append(tmp_path / path / name)

    def evaluated(path: str, accuracies: list[float]) -> None:
        add(path, "model.json", {"format": 1, "provenance": {"stage": "train", "parent": None}, "replicas": {}})
        splits = [{"accuracy": a, "loss": 1 - a, "agreement": 1.0, "samples": 100} for a in accuracies]
        rows = {str(seed): {"validation": split, "test": split, "macs": 10} for seed, split in enumerate(splits)}
        add(path, "evaluate=standard.json", {"replicas": rows})

    evaluated("net/seeds=0-4", DENSE)
    evaluated("net/seeds=0-4/prune=seb@0.5", PRUNED)
    evaluated("net/seeds=0-4/prune=seb@0.9", [a - 0.3 for a in PRUNED])
    evaluated("single/seeds=0-0", [0.9])
    evaluated("single/seeds=0-0/prune=seb@0.5", [0.8])
    times = {
        name: {
            "status": "ok", "precision": "fp32", "reference_precision": "fp32", "kind": "structure",
            "latency_ms": {"median": 1.0, "low": 0.9, "high": 1.1},
            "reference_latency_ms": {"median": 1.0, "low": 0.9, "high": 1.1},
            "speedup": {"ratio": ratio, "low": ratio - 0.05, "high": ratio + 0.05},
            "control": {"ratio": 1.0, "low": 0.95, "high": 1.05},
            "throughput": 1000.0, "integer_share": None, "max_error": 0.0, "agreement": 1.0,
        }
        for name, ratio in (("eager", 1.0), ("openvino", 1.3))
    }  # fmt: skip
    machine = {"cpu": "x", "flags": [], "threads": 1, "versions": {}}
    add("net/seeds=0-4/prune=seb@0.5", "bench=quick.json", {"machine": machine, "batch": 1, "backends": times})
    return read_results(tmp_path, files)


def verdict(tmp_path, results, test: str, profile: str = "cpu", more: str = ""):
    path = tmp_path / "claims.yaml"
    path.write_text(f"- id: it\n  statement: It is so.\n  {more}\n  test: {test}\n")
    (claim,) = read_claims([path])
    return judge(claim, results, profile)


DIFFERENCE = (
    "{{kind: difference, metric: test_accuracy, a: {{base: {base}, recipe: prune=seb@0.5}}, "
    "b: {{recipe: dense}}, expect: '{expect}'}}"
)


def test_a_difference_is_paired_by_seed_and_held_by_its_whole_interval(tmp_path, results):
    differences = np.subtract(PRUNED, DENSE)
    low, high = stats.t.interval(0.95, 4, differences.mean(), stats.sem(differences))
    for expect, wanted in (
        (f"> {low - 1e-6:.7f}", HOLDS),
        (f"> {(low + high) / 2:.7f}", UNDECIDED),
        (f"> {high + 1e-6:.7f}", FAILS),
        (f"< {high + 1e-6:.7f}", HOLDS),
    ):
        found = verdict(tmp_path, results, DIFFERENCE.format(base="net", expect=expect))
        assert found.verdict == wanted, expect
        assert found.cases[0].low == pytest.approx(low)
        assert found.cases[0].high == pytest.approx(high)


def test_one_seed_decides_nothing(tmp_path, results):
    found = verdict(tmp_path, results, DIFFERENCE.format(base="single", expect="< 0"))
    assert found.verdict == UNDECIDED
    assert found.reason == "one seed gives no interval"


def test_wilcoxon_pools_the_pairs(tmp_path, results):
    test = (
        "{kind: wilcoxon, metric: test_accuracy, a: {base: net, recipe: 'prune=seb@{0.5,0.9}'}, "
        "b: {recipe: dense}, expect: '< 0'}"
    )
    found = verdict(tmp_path, results, test)
    pooled = np.concatenate([np.subtract(PRUNED, DENSE), np.subtract(PRUNED, DENSE) - 0.3])
    expected = stats.wilcoxon(pooled, alternative="less").pvalue
    assert found.verdict == HOLDS
    assert found.cases[0].p_value == pytest.approx(expected, abs=2e-3)
    assert found.cases[0].count == 10


def test_a_threshold_on_times_names_backends(tmp_path, results):
    test = "{{kind: threshold, metric: speedup, of: {{base: net, recipe: prune=seb@0.5}}, {backend} expect: '< 1.1'}}"
    assert verdict(tmp_path, results, test.format(backend="backend: eager,")).verdict == HOLDS
    assert verdict(tmp_path, results, test.format(backend="backend: openvino,")).verdict == FAILS
    assert verdict(tmp_path, results, test.format(backend="")).verdict == FAILS  # all backends: one failure fails it
    assert verdict(tmp_path, results, test.format(backend="backend: onnxruntime,")).verdict == NOT_TESTABLE


def test_a_rank_correlation_needs_three_recipes(tmp_path, results):
    test = (
        "{kind: rank_correlation, x: prune_amount, y: test_accuracy, of: {base: net, recipe: 'prune=seb@{0.5,0.9}'}, "
        "expect: '< 0'}"
    )
    assert verdict(tmp_path, results, test).verdict == NOT_TESTABLE


def test_missing_results_and_other_profiles_are_not_testable(tmp_path, results):
    test = "{kind: threshold, metric: test_accuracy, of: {base: nett, recipe: dense}, expect: '> 0.5'}"
    assert verdict(tmp_path, results, test).verdict == NOT_TESTABLE
    test = test.replace("nett", "net")
    assert verdict(tmp_path, results, test).verdict == HOLDS
    found = verdict(tmp_path, results, test, more="scale: paper")
    assert found.verdict == NOT_TESTABLE
    assert "needs the profile paper" in found.reason


def test_one_failing_case_fails_a_claim_and_it_holds_only_if_all_do():
    assert combine([HOLDS, FAILS, UNDECIDED]) == FAILS
    assert combine([HOLDS, UNDECIDED]) == UNDECIDED
    assert combine([HOLDS, NOT_TESTABLE]) == NOT_TESTABLE
    assert combine([HOLDS, HOLDS]) == HOLDS
    assert combine([]) == NOT_TESTABLE


# --- quantities of an analysis ---------------------------------------------------------------------------------------


@pytest.fixture
def analysed(results):
    """An analysis with quantities of every kind: closed, exact, open above, beyond what was tried, without interval."""
    found = {
        "small": Quantity(value=10, low=8, high=14, count=5),
        "large": Quantity(value=20, low=18, high=23, count=5),
        "exact": Quantity(value=10, low=10, high=10),
        "open": Quantity(value=20, low=18),
        "beyond": Quantity(low=100, reason="no size is stable: beyond the largest, 100"),
        "single": Quantity(value=10, count=1, reason="one seed gives no interval"),
        "absent": Quantity(reason="nothing was pruned"),
    }
    results.analyses["sizes"] = Findings(title="Sizes", quantities=found)
    return results


@pytest.mark.parametrize(
    ("name", "expect", "wanted"),
    [
        ("small", "<= 14", HOLDS),
        ("small", "<= 9", UNDECIDED),
        ("small", "> 14", FAILS),
        ("exact", ">= 10", HOLDS),
        ("open", ">= 18", HOLDS),
        ("open", "<= 1000", UNDECIDED),
        ("open", "<= 17", FAILS),
        ("beyond", "<= 99", FAILS),
        ("beyond", "> 99", HOLDS),
        ("beyond", "<= 101", NOT_TESTABLE),
        ("single", "> 5", UNDECIDED),
        ("absent", "> 5", NOT_TESTABLE),
        ("smal", "> 5", NOT_TESTABLE),
    ],
)
def test_a_quantity_is_decided_by_its_interval(tmp_path, analysed, name, expect, wanted):
    test = f"{{kind: quantity, analyse: sizes, quantity: {name}, expect: '{expect}'}}"
    assert verdict(tmp_path, analysed, test).verdict == wanted


def test_why_a_quantity_cannot_be_tested_is_told(tmp_path, analysed):
    test = "{{kind: quantity, analyse: {analysis}, quantity: {name}, expect: '< 5'}}"
    reasons = [
        ("sizes", "absent", "absent: nothing was pruned"),
        ("sizes", "smal", "analysis sizes: unknown quantity 'smal': did you mean 'small'?"),
        ("size", "small", "the study makes no analysis 'size'"),
    ]
    for analysis, name, reason in reasons:
        assert verdict(tmp_path, analysed, test.format(analysis=analysis, name=name)).reason == reason


def test_quantities_are_compared_by_recovered_variances(tmp_path, analysed):
    """MOVER by hand: arms 10 - 8 and 23 - 20 below, 14 - 10 and 20 - 18 above."""
    test = "{{kind: quantities, analyse: sizes, a: {a}, b: {b}, {more} expect: '{expect}'}}"
    found = verdict(tmp_path, analysed, test.format(a="small", b="large", more="", expect="<= 0"))
    assert found.verdict == HOLDS
    assert found.cases[0].estimate == -10
    assert found.cases[0].low == pytest.approx(-10 - np.hypot(2, 3))
    assert found.cases[0].high == pytest.approx(-10 + np.hypot(4, 2))
    found = verdict(tmp_path, analysed, test.format(a="small", b="large", more="ratio: true,", expect="< 1"))
    below = np.hypot(np.log(10 / 8), np.log(23 / 20))
    assert found.cases[0].estimate == pytest.approx(0.5)
    assert found.cases[0].low == pytest.approx(0.5 * np.exp(-below))
    for a, b, expect, wanted in (
        ("[small, large]", "[large, beyond]", "<= 0", HOLDS),  # a chain; what lies beyond exceeds what was found
        ("beyond", "small", "<= 0", FAILS),
        ("small", "beyond", "<= -100", NOT_TESTABLE),
        ("exact", "exact", "<= 0", HOLDS),
        ("small", "single", "<= 0", UNDECIDED),
        ("small", "absent", "<= 0", NOT_TESTABLE),
        ("open", "small", ">= 0", HOLDS),
        ("large", "open", "<= 0", UNDECIDED),
    ):
        assert verdict(tmp_path, analysed, test.format(a=a, b=b, more="", expect=expect)).verdict == wanted, (a, b)


HEAD = "- id: a\n  statement: s\n"
OF = "of: {base: b, recipe: dense}"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (HEAD + "  verdict: holds\n  test: {kind: threshold, metric: macs, " + OF + ", expect: '> 1'}", "'verdict'"),
        (HEAD, "the key test is missing"),
        (HEAD + "  test: {kind: guess}", "guess"),
        (HEAD + "  test: {kind: threshold, metric: acuracy, " + OF + ", expect: '> 1'}", "unknown metric 'acuracy'"),
        (HEAD + "  test: {kind: threshold, metric: macs, " + OF + ", expect: one}", "write a sign and a number"),
        (HEAD + "  test: {kind: quantity, analyse: a, quantity: q, analyze: b, expect: '>1'}", "mean 'analyse'?"),
        (HEAD + "  test: {kind: quantities, analyse: a, a: [q, r], b: [q, r, s], expect: '> 1'}", "do not match"),
        ("id: a", "a list of claims"),
        ("- [", "this is no YAML"),
    ],
)
def test_a_wrong_claims_file_is_one_line_naming_file_and_key(tmp_path, text, says):
    path = tmp_path / "claims.yaml"
    path.write_text(text)
    with pytest.raises(PruneryError) as caught:
        read_claims([path])
    assert "claims.yaml" in str(caught.value)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_ratio_beyond_the_largest_number_is_open_above():
    least, most = Quantity(value=1, low=5e-324, high=1, count=3), Quantity(value=1, low=1, high=1, count=3)
    assert quantified.ratio(most, least, (1, 1), (5e-324, 1)) == (1, (1, math.inf))
