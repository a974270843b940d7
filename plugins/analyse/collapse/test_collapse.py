"""Curves that collapse where they are made to, and what is missing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from prunery_plugins.analyse.collapse.core import behind_largest_drop, largest_drop, near_chance

from prunery.errors import PruneryError
from prunery.registry import registry
from prunery.reporting.results import Results, Stage
from prunery.toyresults import PRUNE, ToyStudy, ToySweep

COLLAPSE = registry().get("analyse", "collapse")


def swept(seeds: int = 10, end: float = 0.85) -> ToySweep:
    """Flat at 90 % to the ratio 0.5, then down to 10 % of ten classes at `end`; a weight pruned is one gone."""
    made = ToySweep(seeds)
    accuracies = made.sized("net", 100, 90, 0.5)
    made.pruned("net", accuracies, 0.5, end)
    whole = 795 * 100 + 10
    for row in made.rows:
        ratio = 0.0 if row["recipe"] == "dense" else row["prune_amount"]
        row |= {"parameters": whole, "nonzero": whole * (1 - 0.9 * ratio)}
    return made


def analysed(results: Results, families: dict[str, Any] | None = None, **settings: Any) -> Any:
    chosen = {"families": families or {"net": {"bases": "net", "prune": PRUNE}}, **settings}
    return COLLAPSE(COLLAPSE.Settings.model_validate(chosen)).analyse(results)


def test_the_definitions_by_hand() -> None:
    accuracy = np.array(
        [[90.0, 88.0, 60.0, 14.0, 10.0], [90.0, 89.0, 88.0, 87.0, 86.0], [10.0, 10.0, 10.0, 10.0, 10.0]]
    )
    assert near_chance(accuracy, 10, 5).tolist() == [3, 5, 0]
    assert near_chance(accuracy, 10, 3).tolist() == [4, 5, 0]
    assert behind_largest_drop(accuracy).tolist() == [3, 1, 5]
    assert largest_drop(accuracy).tolist() == [46.0, 1.0, 0.0]


def test_a_collapse_is_found_where_it_is() -> None:
    """At 0.8 the curve has come down 6/7 of the way, to 21.4 %; at 0.9 it is at the bottom."""
    found = analysed(swept().done())
    told = found.quantities
    assert (told["net/collapse"].value, told["net/collapse"].low, told["net/collapse"].high) == (0.9, 0.9, 0.9)
    assert told["net/collapse_removed"].value == pytest.approx(0.81)
    assert told["net/largest_drop"].value == pytest.approx(80 / 3.5, abs=1)
    assert told["net/accuracy@0.8"].value == pytest.approx(10 + 80 / 7, abs=1)
    assert told["net/accuracy@0.8"].low < told["net/accuracy@0.8"].value < told["net/accuracy@0.8"].high
    assert told["net/accuracy@0"].value == pytest.approx(90, abs=0.5)
    wider = analysed(swept().done(), margin=15).quantities["net/collapse"]
    assert wider.value == 0.8
    assert len(found.figures) == 2
    assert found.tables[0].rows[0][3].startswith("90")


def test_the_other_definition_and_the_papers_numbers() -> None:
    families = {
        "net": {"bases": "net", "prune": PRUNE, "paper": {"collapse": 0.85, "removed": 0.849, "accuracy": 11.25}}
    }
    found = analysed(swept(end=0.6).done(), families, definition="drop")
    assert found.quantities["net/collapse"].value == 0.6  # from 90 to 10 in one step
    assert found.quantities["net/largest_drop"].value == pytest.approx(80, abs=1)
    row = found.tables[0].rows[0]
    assert (row[4], row[6], row[8]) == ("85", "84.9", "11.25")


def test_a_curve_that_never_collapses_is_open_above() -> None:
    made = ToySweep(10)
    accuracies = made.sized("net", 100, 90, 0.5)
    made.add("net", "prune=l1@0.5", accuracies - 1, parameters=100, nonzero=50)
    for row in made.rows:
        row.setdefault("nonzero", row["parameters"])
    collapse = analysed(made.done()).quantities["net/collapse"]
    assert (collapse.value, collapse.low, collapse.high) == (None, 0.5, None)
    assert collapse.reason == "no accuracy is within 5 points of 10 %"


def test_one_seed_gives_a_ratio_without_an_interval() -> None:
    collapse = analysed(swept(seeds=1).done()).quantities["net/collapse"]
    assert (collapse.value, collapse.low, collapse.reason) == (0.9, None, "one seed gives no interval")


@pytest.mark.slow
def test_intervals_cover_the_truth() -> None:
    """Noise as large as the step: of 200 studies of five seeds, at least 180 intervals hold the true ratio, 0.7."""
    truth = {0.0: 90.0, 0.5: 80.0, 0.6: 17.0, 0.7: 13.0, 0.8: 10.0}
    hits = 0
    for generator in range(200):
        random, study = np.random.default_rng(generator), ToyStudy(5)
        sizes = {"parameters": 100, "nonzero": 50}
        study.dense("net", 90 + random.standard_normal(5), Stage({}, "", "mlp", {}, 10), **sizes)
        for ratio, mean in list(truth.items())[1:]:
            study.add("net", f"prune=l1@{ratio}", mean + 2 * random.standard_normal(5), **sizes)
        found = analysed(study.done(), resamples=400).quantities["net/collapse"]
        hits += found.low <= 0.7 <= (found.high or 1)
    assert hits >= 180


def test_what_does_not_fit_is_one_line() -> None:
    made = swept(seeds=2)
    made.add("other", (), [50, 50], parameters=1, nonzero=1)
    made.add("net", "prune=l1", [50, 50], parameters=1, nonzero=1)
    results = made.done()
    with pytest.raises(PruneryError, match=r"families\.net: it stands for the bases net, other: make a family of each"):
        analysed(results, {"net": {"bases": "*", "prune": PRUNE}})
    with pytest.raises(PruneryError, match=r"families\.net: prune=l1 states no ratio"):
        analysed(results, {"net": {"bases": "net", "prune": "prune=l1"}})
    for stage in results.stages:
        results.stages[stage] = Stage({})
    with pytest.raises(PruneryError, match="does not say how many classes there are: set chance"):
        analysed(results)
    assert analysed(results, chance=10).quantities["net/collapse"].value == 0.9


def test_families_whose_data_are_not_here_are_named() -> None:
    families = {"net": {"bases": "net", "prune": PRUNE}, "away": {"bases": "away", "prune": PRUNE}}
    assert analysed(swept().done(), families).notes[-1].endswith("was evaluated: away.")
    nothing = analysed(Results(), families)
    assert (nothing.quantities, nothing.tables, nothing.figures) == ({}, [], [])
