"""Sweeps that lack something: families, stable sizes, seeds, learning curves; and settings that do not fit them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from prunery.errors import PruneryError
from prunery.registry import registry
from prunery.reporting.results import Results
from prunery.toyresults import PRUNE, ToySweep

REGIMES = registry().get("analyse", "regimes")


def analysed(results: Results, settings: dict[str, Any] | None = None, **family: Any) -> Any:
    chosen = {"families": {"net": {"bases": "net-*", **family}}, "size": "width", **(settings or {})}
    return REGIMES(REGIMES.Settings.model_validate(chosen)).analyse(results)


def test_families_whose_data_are_not_here_are_left_out_and_named() -> None:
    families = {"net": {"bases": "net-*", "int8": {"bases": "away-*"}}, "away": {"bases": "away-*"}}
    made = ToySweep(seeds=2)
    made.sized("net-1", 1, 90, 0.5)
    found = analysed(made.done(), {"families": families})
    assert {name.partition("/")[0] for name in found.quantities} == {"net"}
    assert found.notes[-1] == "Left out, since none of their networks was evaluated: away."
    del families["net"]
    for results in (made.results, Results()):
        nothing = analysed(results, {"families": families})
        assert (nothing.quantities, nothing.tables, nothing.figures) == ({}, [], [])
        assert nothing.notes == found.notes[-1:]


def test_without_a_stable_size_the_interval_is_open_above() -> None:
    made = ToySweep()
    for width in (1, 2, 4):
        made.sized(f"net-{width}", width, 40 + width, 9.0)
    found = analysed(made.done(), prune=PRUNE).quantities
    minimal = found["net/minimal_stable_size"]
    assert (minimal.value, minimal.low, minimal.high) == (None, 4, None)
    assert minimal.reason == "no size is stable: beyond the largest, 4"
    assert "net/safe_pruning" not in found  # nothing was pruned


def test_one_size_and_one_seed_give_what_they_can() -> None:
    made = ToySweep(seeds=1)
    accuracies = made.sized("net-5", 5, 90, 0.5)
    made.pruned("net-5", accuracies)
    made.add("net-5", "quantize=qat", accuracies - 1, parameters=9)
    found = analysed(made.done(), prune=PRUNE, int8={})
    told = found.quantities
    assert told["net/minimal_stable_size"].reason == "one seed gives no standard deviation"
    assert told["net/best_accuracy"].value == pytest.approx(float(accuracies[0]))
    assert told["net/best_accuracy"].reason == "one seed gives no interval"
    assert told["net/int8_gap_at_largest"].value == pytest.approx(1)
    assert told["net/safe_pruning"].value is None
    assert told["net/int8_gap_rank_correlation"].reason == "needs three sizes with 8-bit networks"
    assert any("One seed only" in note for note in found.notes)


def test_without_learning_curves_overfitting_is_not_told() -> None:
    made = ToySweep()
    for width, mean in ((1, 80), (2, 90), (4, 88)):
        made.sized(f"net-{width}", width, mean, 0.3, train=None)
    found = analysed(made.done(), {"within": 20})
    assert found.quantities["net/overfit_drop"].reason == "no learning curves were found"
    assert any("over-fitting is not told" in note for note in found.notes)


def test_overfitting_is_seen_with_learning_curves() -> None:
    made = ToySweep()
    for width, mean in ((1, 80), (2, 90), (4, 88)):
        made.sized(f"net-{width}", width, mean, 0.3, train=80 + 5 * width)
    found = analysed(made.done())
    drop = found.quantities["net/overfit_drop"]
    assert drop.value == pytest.approx(2, abs=0.3)
    assert drop.low > 1
    assert found.tables[1].rows[-1][6] == "over-fitting"


def test_unpaired_seeds_still_give_a_gap() -> None:
    made = ToySweep()
    accuracies = made.sized("net-5", 5, 90, 0.5)
    made.add("net-5", "quantize=qat", accuracies - 1, parameters=9)
    for row in made.rows:
        row["seed"] += 100 if row["recipe"] != "dense" else 0
    gap = analysed(made.done(), int8={}).quantities["net/int8_gap_at_stable"]
    assert gap.value == pytest.approx(1)
    assert gap.high - gap.low == pytest.approx(2 * 2 * 0.5 * (2 / 30) ** 0.5, rel=0.35)  # as of independent samples


def test_diverged_replicas_are_counted_in_all_networks_of_a_family() -> None:
    made = ToySweep()
    for width in (1, 2):
        made.sized(f"net-{width}", width, 90, 0.3, diverged={"3": 2, "7": 5} if width == 1 else None)
        made.sized(f"qat-{width}", width, 90, 0.3, diverged={"1": 1})
        made.add(f"qat-{width}", "quantize=qat", np.full(30, 89.0), parameters=9)
    found = analysed(made.done(), int8={"bases": "qat-*"})
    assert found.quantities["net/diverged"].value == 4
    assert "Training diverged in net." in found.notes


def test_a_replica_without_a_curve_counts_as_the_others() -> None:
    made = ToySweep()
    for width in (1, 2):
        made.sized(f"net-{width}", width, 90, 0.3, train=95)
    made.history = [row for row in made.history if row["seed"] != 3 or row["path"].startswith("net-2")]
    found = analysed(made.done())
    assert [row[5] for row in found.tables[1].rows] == ["95.00", "95.00"]
    assert not any("over-fitting is not told" in note for note in found.notes)


def test_the_kept_epoch_is_the_best_with_patience() -> None:
    made = ToySweep(seeds=2)
    made.sized("net-1", 1, 90, 0.3, settings={"patience": 3})
    for row in made.history:
        row["validation_loss"] = 0.1 * row["epoch"]  # the first epoch is the best
    assert analysed(made.done()).tables[1].rows[0][5] == "10.00"


def test_two_recipes_for_one_figure_are_refused() -> None:
    made = ToySweep(seeds=2)
    made.sized("net-1", 1, 90, 0.5)
    for steps in ("prune=l1@0.5", "prune=random@0.5", "prune=l1@0.7"):
        made.add("net-1", steps, [80, 81], parameters=9)
    for method in ("qat", "ptq"):
        made.add("net-1", f"quantize={method}", [80, 81], parameters=9)
    results = made.done()
    assert analysed(results, prune="prune=l1@{0.5,0.7}", int8={}).quantities
    with pytest.raises(PruneryError, match=r"base net-1: prune=l1@0\.5 and prune=random@0\.5 have the same ratio"):
        analysed(results, prune="prune={l1,random}@0.5")
    with pytest.raises(PruneryError, match="base net-1: quantize=qat and quantize=ptq are two recipes: name one"):
        analysed(results, int8={"recipe": "quantize={qat,ptq}"})


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"size": "widht"}, "families.net, base net-1: unknown setting of mlp 'widht': did you mean 'width'?"),
        ({"size": "shape"}, r"base net-1: shape is \[\], no size: name one that counts"),
        ({"families": {"net": {"bases": ["net-*", "again-*"]}}}, "bases net-1 and again-1 have the same width, 1"),
    ],
)
def test_settings_that_do_not_fit_the_results_are_one_line(settings: dict[str, Any], says: str) -> None:
    made = ToySweep(seeds=2)
    for base, width in (("net-1", 1), ("net-2", 2), ("again-1", 1)):
        made.sized(base, width, 90, 0.5)
    with pytest.raises(PruneryError, match=says) as caught:
        analysed(made.done(), settings)
    assert "\n" not in str(caught.value)
