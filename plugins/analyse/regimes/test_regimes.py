"""Sweeps of known truth: the definitions by hand, change points and their intervals, what is missing, and speed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from prunery_plugins.analyse.regimes.core import (
    OVERFIT,
    STABLE,
    UNSTABLE,
    falls,
    minimal_stable,
    regimes,
    safe_index,
    split_ratio,
)
from prunery_plugins.analyse.regimes.phases import three_phases

from prunery.errors import PruneryError
from prunery.recipe import Recipe, Step
from prunery.registry import registry
from prunery.reporting.results import Results, Stage, recipe_columns

WIDTHS = (1, 2, 3, 5, 10, 20, 30, 50)
MEANS = (30.0, 45.0, 60.0, 75.0, 90.0, 91.0, 92.0, 92.5)
STDS = (8.0, 8.0, 6.0, 4.0, 0.4, 0.4, 0.3, 0.3)
RATIOS = tuple(round(0.1 * step, 1) for step in range(1, 11))
PRUNE = f"prune=l1@{{{','.join(map(str, RATIOS))}}}"
REGIMES = registry().get("analyse", "regimes")


class Sweep:
    """A made-up study, replica by replica; accuracies in percent."""

    def __init__(self, seeds: int = 30, generator: int = 0) -> None:
        self.seeds, self.random = seeds, np.random.default_rng(generator)
        self.rows: list[dict[str, Any]] = []
        self.history: list[dict[str, Any]] = []
        self.results = Results()

    def add(self, base: str, steps: tuple[Step, ...], accuracies: Any, parameters: int) -> None:
        recipe = Recipe(base, (0, self.seeds - 1), steps)
        self.results.recipes[str(recipe)] = recipe
        for seed, accuracy in enumerate(accuracies):
            figures = {"evaluate": "standard", "seed": seed, "test_accuracy": accuracy / 100, "parameters": parameters}
            self.rows.append(recipe_columns(recipe) | figures)

    def dense(self, base: str, width: int, mean: float, std: float, train: float | None = 99.0, **made: Any) -> Any:
        """A dense network; returns its accuracies."""
        accuracies = mean + std * self.random.standard_normal(self.seeds)
        self.add(base, (), accuracies, 795 * width + 10)
        path = f"{base}/seeds=0-{self.seeds - 1}"
        self.results.stages[path] = Stage(made, "", "mlp", {"width": width, "shape": []})
        for seed in range(self.seeds if train is not None else 0):
            for epoch, accuracy in ((1, 0.1), (2, float(train or 0) / 100)):
                self.history.append({"path": path, "seed": seed, "epoch": epoch, "train_accuracy": accuracy})
        return accuracies

    def pruned(self, base: str, accuracies: Any, width: int, flat: float = 0.5, end: float = 0.9) -> None:
        """Recipes at every ratio: flat to `flat`, then down to 10 % at `end`."""
        for ratio in RATIOS:
            share = float(np.clip((ratio - flat) / (end - flat), 0, 1))
            noise = 0.1 * self.random.standard_normal(self.seeds)
            lost = accuracies * (1 - share) + 10 * share + noise * (1 + 9 * (0 < share < 1))
            self.add(base, (Step("prune", "l1", str(ratio)),), lost, 795 * width + 10)

    def done(self) -> Results:
        self.results.replicas, self.results.history = pd.DataFrame(self.rows), pd.DataFrame(self.history)
        return self.results


def sweep(seeds: int = 30, generator: int = 0, **extra: Any) -> Results:
    """Eight widths with known regimes: stable from width 10 on."""
    made = Sweep(seeds, generator)
    for width, mean, std in zip(WIDTHS, MEANS, STDS, strict=True):
        accuracies = made.dense(f"net-{width}", width, mean, std)
        if extra.get("prune"):
            made.pruned(f"net-{width}", accuracies, width)
        if "gap" in extra:
            made.dense(f"qat-{width}", width, 0, 0)
            lost = accuracies - extra["gap"](width) + 0.1 * made.random.standard_normal(seeds)
            made.add(f"qat-{width}", (Step("quantize", "qat"),), lost, 795 * width + 10)
    return made.done()


def analysed(results: Results, settings: dict[str, Any] | None = None, **family: Any) -> Any:
    chosen = {"families": {"net": {"bases": "net-*", **family}}, "size": "width", **(settings or {})}
    return REGIMES(REGIMES.Settings.model_validate(chosen)).analyse(results)


# --- the definitions, by hand ----------------------------------------------------------------------------------------


def test_minimal_stable_is_the_first_size_from_which_all_are_stable() -> None:
    mean = np.array([50.0, 90.0, 91.0, 92.0])
    assert minimal_stable(mean, np.array([9.0, 0.5, 0.5, 0.5]), 1, 5) == 1
    assert minimal_stable(mean, np.array([0.1, 0.5, 1.5, 0.5]), 1, 5) == 3  # a size that relapses counts
    assert minimal_stable(mean, np.array([9.0, 0.5, 0.5, 1.5]), 1, 5) == 4  # none
    assert minimal_stable(mean, np.array([0.1, 0.1, 0.1, 0.1]), 1, 1.5) == 2  # 90 is too far below 92
    assert minimal_stable(np.array([90.0]), np.array([0.5]), 1, 5) == 0
    assert minimal_stable(np.array([90.0]), np.array([np.nan]), 1, 5) == 1


def test_overfitting_is_a_fall_while_training_accuracy_does_not_fall() -> None:
    mean, std = np.array([60.0, 90.0, 89.0, 89.8]), np.full(4, 0.2)
    rising, falling = np.array([60.0, 95.0, 99.0, 100.0]), np.array([60.0, 95.0, 90.0, 94.0])
    assert falls(mean, rising).tolist() == pytest.approx([0, 0, 1.0, 0.2])
    assert falls(mean, falling).tolist() == [0, 0, 0, 0]
    assert falls(mean, np.full(4, np.nan)).tolist() == [0, 0, 0, 0]
    assert regimes(mean, std, rising, 1, 5, 0.5).tolist() == [UNSTABLE, STABLE, OVERFIT, STABLE]


def test_safe_pruning_ends_before_the_first_loss() -> None:
    assert safe_index(np.array([90.0, 89.5, 89.0, 88.9, 89.9]), 1.0) == 2
    assert safe_index(np.array([90.0, 80.0]), 1.0) == 0


def test_split_ratio_needs_both_sides() -> None:
    std = np.array([4.0, 2.0, 1.0, 0.5])
    assert split_ratio(std, np.array([10.0, 20.0, 30.0, 40.0]), 20) == pytest.approx(0.75 / 3)
    assert np.isnan(split_ratio(std, np.array([10.0, 20.0, 30.0, 40.0]), 40))


def test_three_phases_are_found_where_they_are() -> None:
    x = np.linspace(0, 1, 11)
    curves = np.stack([90 - 80 * np.clip((x - a) / (b - a), 0, 1) for a, b in ((0.5, 0.9), (0.3, 0.6), (0, 1))])
    found = three_phases(x, curves, rising=False)
    assert found.start.tolist() == pytest.approx([0.5, 0.3, 0])
    assert found.end.tolist() == pytest.approx([0.9, 0.6, 1])
    assert np.isnan(three_phases(x, curves, rising=True).start).all()
    assert np.isnan(three_phases(x, np.full(11, 90.0), rising=False).start)


# --- a whole sweep ---------------------------------------------------------------------------------------------------


def test_regimes_of_a_sweep_are_recovered() -> None:
    found = analysed(sweep(prune=True, gap=lambda width: 8 / width), prune=PRUNE, int8={"bases": "qat-*"})
    told = found.quantities
    assert told["net/minimal_stable_size"].value == 10
    assert (told["net/minimal_stable_size"].low, told["net/minimal_stable_size"].high) == (10, 10)
    assert told["net/minimal_stable_parameters"].value == 7960
    assert told["net/regimes"].value == 2
    assert told["net/safe_pruning"].value == 0.5
    assert told["net/flat_end"].value == pytest.approx(0.5, abs=0.03)
    assert told["net/collapse_start"].value == pytest.approx(0.9, abs=0.03)
    assert told["net/pruning_std_growth"].low > 1.3
    assert told["net/int8_gap_at_stable"].value == pytest.approx(0.8, abs=0.1)
    assert told["net/int8_gap_at_largest"].value == pytest.approx(0.16, abs=0.1)
    assert told["net/int8_gap_rank_correlation"].value < -0.9
    assert told["net/int8_gap_smallest_sizes"].value == pytest.approx(6, abs=0.2)
    assert told["net/int8_best_gain"].high < 0
    assert told["net/std_ratio@1000"].high < 0.5
    assert told["net/diverged"].value == 0
    assert len(found.figures) == 3
    assert [row[6] for row in found.tables[1].rows] == ["unstable"] * 4 + ["stable"] * 4


def test_the_gap_is_paired_by_seed() -> None:
    """Pairs share their noise of 0.4 points: the interval of the gap is that of the 0.1 that they do not share."""
    gap = analysed(sweep(gap=lambda _: 1), int8={"bases": "qat-*"}).quantities["net/int8_gap_at_stable"]
    assert gap.high - gap.low == pytest.approx(2 * 2.045 * 0.1 / 30**0.5, rel=0.3)


@pytest.mark.slow
@pytest.mark.parametrize("seeds", [5, 30])
def test_intervals_cover_the_truth(seeds: int) -> None:
    """Of 200 sweeps, at least 90 % of the 95 % intervals hold the true value."""
    hits = dict.fromkeys(("minimal_stable_size", "int8_gap_at_largest", "safe_pruning", "flat_end"), 0)
    truth = dict(zip(hits, (10, 0.7, 0.4, 0.45), strict=True))
    for generator in range(200):
        made = Sweep(seeds, generator)
        for width, mean, std in ((3, 60, 6), (5, 86, 1.2), (10, 89, 0.6), (30, 91, 0.5)):
            accuracies = made.dense(f"net-{width}", width, mean, std)
            lost = accuracies - 0.7 + 0.3 * made.random.standard_normal(seeds)
            made.add(f"net-{width}", (Step("quantize", "qat"),), lost, 9)
            if width == 30:
                made.pruned("net-30", accuracies, 30, 0.45, 0.85)
        told = analysed(made.done(), {"resamples": 400, "within": 6}, prune=PRUNE, int8={}).quantities
        for name, value in truth.items():
            hits[name] += _held(told[f"net/{name}"], value)
    assert min(hits.values()) >= 180, hits


def _held(quantity: Any, truth: float) -> bool:
    high = np.inf if quantity.high is None else quantity.high
    return quantity.low is not None and quantity.low - 1e-6 <= truth <= high + 1e-6


# --- what is missing -------------------------------------------------------------------------------------------------


def test_families_whose_data_are_not_here_are_left_out_and_named() -> None:
    families = {"net": {"bases": "net-*", "int8": {"bases": "away-*"}}, "away": {"bases": "away-*"}}
    made = Sweep(seeds=2)
    made.dense("net-1", 1, 90, 0.5)
    found = analysed(made.done(), {"families": families})
    assert {name.partition("/")[0] for name in found.quantities} == {"net"}
    assert found.notes[-1] == "Left out, since none of their networks was evaluated: away."
    del families["net"]
    for results in (made.results, Results()):
        nothing = analysed(results, {"families": families})
        assert (nothing.quantities, nothing.tables, nothing.figures) == ({}, [], [])
        assert nothing.notes == found.notes[-1:]


def test_without_a_stable_size_the_interval_is_open_above() -> None:
    made = Sweep()
    for width in (1, 2, 4):
        made.dense(f"net-{width}", width, 40 + width, 9.0)
    found = analysed(made.done(), prune=PRUNE).quantities
    minimal = found["net/minimal_stable_size"]
    assert (minimal.value, minimal.low, minimal.high) == (None, 4, None)
    assert minimal.reason == "no size is stable: beyond the largest, 4"
    assert "net/safe_pruning" not in found  # nothing was pruned


def test_one_size_and_one_seed_give_what_they_can() -> None:
    made = Sweep(seeds=1)
    accuracies = made.dense("net-5", 5, 90, 0.5)
    made.pruned("net-5", accuracies, 5)
    made.add("net-5", (Step("quantize", "qat"),), accuracies - 1, 9)
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
    made = Sweep()
    for width, mean in ((1, 80), (2, 90), (4, 88)):
        made.dense(f"net-{width}", width, mean, 0.3, train=None)
    found = analysed(made.done(), {"within": 20})
    assert found.quantities["net/overfit_drop"].reason == "no learning curves were found"
    assert any("over-fitting is not told" in note for note in found.notes)


def test_overfitting_is_seen_with_learning_curves() -> None:
    made = Sweep()
    for width, mean in ((1, 80), (2, 90), (4, 88)):
        made.dense(f"net-{width}", width, mean, 0.3, train=80 + 5 * width)
    found = analysed(made.done())
    drop = found.quantities["net/overfit_drop"]
    assert drop.value == pytest.approx(2, abs=0.3)
    assert drop.low > 1
    assert found.tables[1].rows[-1][6] == "over-fitting"


def test_unpaired_seeds_still_give_a_gap() -> None:
    made = Sweep()
    accuracies = made.dense("net-5", 5, 90, 0.5)
    made.add("net-5", (Step("quantize", "qat"),), accuracies - 1, 9)
    for row in made.rows:
        row["seed"] += 100 if row["recipe"] != "dense" else 0
    gap = analysed(made.done(), int8={}).quantities["net/int8_gap_at_stable"]
    assert gap.value == pytest.approx(1)
    assert gap.high - gap.low == pytest.approx(2 * 2 * 0.5 * (2 / 30) ** 0.5, rel=0.35)  # as of independent samples


def test_diverged_replicas_are_counted_in_all_networks_of_a_family() -> None:
    made = Sweep()
    for width in (1, 2):
        made.dense(f"net-{width}", width, 90, 0.3, diverged={"3": 2, "7": 5} if width == 1 else None)
        made.dense(f"qat-{width}", width, 90, 0.3, diverged={"1": 1})
        made.add(f"qat-{width}", (Step("quantize", "qat"),), np.full(30, 89.0), 9)
    found = analysed(made.done(), int8={"bases": "qat-*"})
    assert found.quantities["net/diverged"].value == 4
    assert "Training diverged in net." in found.notes


def test_a_replica_without_a_curve_counts_as_the_others() -> None:
    made = Sweep()
    for width in (1, 2):
        made.dense(f"net-{width}", width, 90, 0.3, train=95)
    made.history = [row for row in made.history if row["seed"] != 3 or row["path"].startswith("net-2")]
    found = analysed(made.done())
    assert [row[5] for row in found.tables[1].rows] == ["95.00", "95.00"]
    assert not any("over-fitting is not told" in note for note in found.notes)


def test_the_kept_epoch_is_the_best_with_patience() -> None:
    made = Sweep(seeds=2)
    made.dense("net-1", 1, 90, 0.3, settings={"patience": 3})
    for row in made.history:
        row["validation_loss"] = 0.1 * row["epoch"]  # the first epoch is the best
    assert analysed(made.done()).tables[1].rows[0][5] == "10.00"


def test_two_recipes_for_one_figure_are_refused() -> None:
    made = Sweep(seeds=2)
    made.dense("net-1", 1, 90, 0.5)
    for steps in ((Step("prune", "l1", "0.5"),), (Step("prune", "random", "0.5"),), (Step("prune", "l1", "0.7"),)):
        made.add("net-1", steps, [80, 81], 9)
    for method in ("qat", "ptq"):
        made.add("net-1", (Step("quantize", method),), [80, 81], 9)
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
    made = Sweep(seeds=2)
    for base, width in (("net-1", 1), ("net-2", 2), ("again-1", 1)):
        made.dense(base, width, 90, 0.5)
    with pytest.raises(PruneryError, match=says) as caught:
        analysed(made.done(), settings)
    assert "\n" not in str(caught.value)
