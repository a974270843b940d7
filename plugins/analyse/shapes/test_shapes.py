"""Spreads of groups of known truth: bias, coverage, and what is missing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from prunery_plugins.analyse.shapes.core import shrunken, simultaneous, spread

from prunery.errors import PruneryError
from prunery.registry import registry
from prunery.reporting.results import Results, Stage
from prunery.toyresults import ToyStudy

SHAPES = registry().get("analyse", "shapes")


def made(means: dict[tuple[int, str], float], seeds: int = 10, generator: int = 0, std: float = 0.3) -> Results:
    """Networks of depth 3 by width and shape, accuracies in percent; parameters are a thousand times the width."""
    random, study = np.random.default_rng(generator), ToyStudy(seeds)
    for (width, shape), mean in means.items():
        stage = Stage({}, "", "mlp", {"depth": 3, "width": width, "shape": list(shape)})
        accuracies = mean + std * random.standard_normal(seeds)
        study.dense(f"net-{width}-{shape}", accuracies, stage, parameters=1000 * width)
    return study.done()


def analysed(results: Results, **settings: Any) -> Any:
    chosen = {"families": {"net": {"bases": "net-*"}}, "minimal_parameters": 50_000, **settings}
    return SHAPES(SHAPES.Settings.model_validate(chosen)).analyse(results)


def test_the_spread_counts_large_groups_only():
    truth = {(10, "ee"): 60.0, (10, "ii"): 90.0, (100, "ee"): 97.0, (100, "ii"): 97.5, (100, "dd"): 95.0}
    found = analysed(made(truth, std=0.01)).quantities["net/shape_spread"]
    assert found.value == pytest.approx(2.5, abs=0.05)
    assert found.low < 2.5 < found.high
    none = analysed(made(truth), minimal_parameters=1e6).quantities["net/shape_spread"]
    assert none.value is None
    assert "1,000,000 parameters" in none.reason


def test_noise_alone_makes_a_spread_and_is_allowed_for():
    """Nine equal shapes, 100 times: the raw spread is far too large, its interval holds 0, the bias is taken off."""
    equal = {(100, first + second): 97.0 for first in "ide" for second in "ide"}
    found = [analysed(made(equal, generator=number)).quantities for number in range(100)]
    raw = np.mean([each["net/shape_spread"].value for each in found])
    assert raw == pytest.approx(0.3 / 10**0.5 * 2.97, rel=0.1)  # the expected range of nine normal means
    assert np.mean([each["net/shape_spread"].low <= 0 for each in found]) >= 0.95
    assert np.mean([each["net/shape_spread_corrected"].value for each in found]) < 0.4 * raw


def test_simultaneous_intervals_by_hand():
    low, high = simultaneous(np.array([1.0, 2.0]), np.array([0.0, 0.0]), np.array([5, 5]), 0.95)
    assert (low, high) == (1.0, 1.0)
    low, high = simultaneous(np.array([1.0, 2.0]), np.array([0.5, 0.5]), np.array([5, 5]), 0.95)
    assert low == 0
    assert high == pytest.approx(1 + 2 * 3.4954 * 0.5, abs=1e-3)  # t of 4 degrees at 1 - 0.05 / 4


def test_the_correction_takes_off_what_noise_adds():
    means = np.array([1.0, 2.0, 3.0])  # their variance is 1
    assert shrunken(means, np.full(3, 0.6)).tolist() == pytest.approx([1.2, 2.0, 2.8])
    assert shrunken(means, np.full(3, 2.0)).tolist() == [2.0, 2.0, 2.0]
    assert spread(np.array([[1.0, 4.0, 2.0]])).tolist() == [3.0]


def test_one_seed_has_no_interval_and_a_wrong_setting_is_named():
    results = made({(100, "ee"): 97.0, (100, "ii"): 96.0}, seeds=1)
    found = analysed(results).quantities["net/shape_spread"]
    assert found.low is None
    assert found.reason == "one seed gives no interval"
    with pytest.raises(PruneryError, match=r"families\.net, base net-100-ee: unknown setting 'widht'"):
        analysed(results, groups=["depth", "widht"])


def test_families_whose_data_are_not_here_are_left_out_and_named():
    families = {"net": {"bases": "net-*"}, "away": {"bases": "away-*"}}
    found = analysed(made({(100, "ee"): 97.0, (100, "ii"): 96.0}), families=families)
    assert {name.partition("/")[0] for name in found.quantities} == {"net"}
    assert found.notes[-1] == "Left out, since none of their networks was evaluated: away."
    nothing = analysed(Results(), families=families)
    assert (nothing.quantities, nothing.tables) == ({}, [])
    assert "net, away" in nothing.notes[-1]


def test_groups_may_go_by_any_setting():
    results = made({(100, "ee"): 97.0, (100, "ii"): 96.0, (20, "ee"): 90.0})
    rows = analysed(results, groups=["shape"], shape="width").tables[0].rows
    assert [row[:2] for row in rows] == [["ee", 2], ["ii", 1]]
    next(iter(results.stages.values())).settings["width"] = None
    assert [row[0] for row in analysed(results, groups=["width"]).tables[0].rows] == ["20", "100", "None"]
