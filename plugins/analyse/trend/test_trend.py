"""Families made with a known slope: it is recovered, and so is what is missing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from prunery_plugins.analyse.trend.sizes import slopes

from prunery.errors import PruneryError
from prunery.registry import registry
from prunery.reporting.results import Results, Stage
from prunery.toyresults import ToyStudy

TREND = registry().get("analyse", "trend")
SIZES = (1e3, 3e3, 1e4, 1e5)
PRUNE = "prune=seb@{0.3,0.5,0.7}"


def made(seeds: int = 6, noise: float = 0.05, sizes: tuple[float, ...] = SIZES) -> ToyStudy:
    """Drops of 4 R (5 - log10(size)) points: at the ratio R a tenfold network loses 4 R points less."""
    random, study = np.random.default_rng(0), ToyStudy(seeds)
    for number, size in enumerate(sizes):
        dense = 90 + random.standard_normal(seeds)
        study.dense(f"net-{number}", dense, Stage({}, "", "vit", {}, 10), parameters=size, macs=2 * size**2)
        for ratio in (0.3, 0.5, 0.7):
            drop = 4 * ratio * (5 - np.log10(size)) + noise * random.standard_normal(seeds)
            study.add(f"net-{number}", f"prune=seb@{ratio}", dense - drop, parameters=size, macs=2 * size**2)
    return study


def analysed(results: Results, prune: str = PRUNE, **settings: Any) -> Any:
    chosen = {"families": {"net": {"bases": "net-*", "prune": prune}}, **settings}
    return TREND(TREND.Settings.model_validate(chosen)).analyse(results)


def test_slopes_are_those_of_least_squares() -> None:
    random = np.random.default_rng(0)
    x, y = random.standard_normal(7), random.standard_normal((5, 7, 3))
    expected = np.array([np.polyfit(x, each, 1)[0] for each in y])
    assert slopes(x, y) == pytest.approx(expected)
    assert np.isnan(slopes(np.ones(7), y)).all()


def test_a_known_slope_and_its_growth_are_found() -> None:
    found = analysed(made().done())
    told = found.quantities
    for ratio in (0.3, 0.5, 0.7):
        slope = told[f"net/slope@{ratio}"]
        assert slope.value == pytest.approx(-4 * ratio, abs=0.05)
        assert slope.low < slope.value < slope.high < 0
        assert told[f"net/correlation@{ratio}"].value < -0.99
    assert told["net/growth"].value == pytest.approx(-1.6, abs=0.07)
    assert told["net/growth"].high < 0
    assert told["net/drop@0.5/net-0"].value == pytest.approx(4, abs=0.1)
    assert [row[0] for row in found.tables[0].rows] == ["30", "50", "70"]
    assert len(found.figures) == 2


def test_size_may_be_what_is_computed() -> None:
    slope = analysed(made().done(), size="macs").quantities["net/slope@0.5"]
    assert slope.value == pytest.approx(-1, abs=0.05)  # a hundredfold per tenfold


def test_noise_gives_an_interval_around_zero() -> None:
    study, random = ToyStudy(5), np.random.default_rng(3)
    for number, size in enumerate(SIZES):
        study.dense(f"net-{number}", np.full(5, 90.0), Stage({}, "", "vit", {}, 10), parameters=size)
        study.add(f"net-{number}", "prune=seb@0.5", 80 + 3 * random.standard_normal(5), parameters=size)
    told = analysed(study.done(), "prune=seb@0.5").quantities
    assert told["net/slope@0.5"].low < 0 < told["net/slope@0.5"].high
    assert told["net/growth"].reason == "there is one ratio"


def test_one_seed_one_size_and_nothing() -> None:
    alone = analysed(made(seeds=1).done()).quantities["net/slope@0.5"]
    assert (alone.low, alone.reason) == (None, "one seed gives no interval")
    same = analysed(made(sizes=(1e4, 1e4)).done()).quantities["net/slope@0.5"]
    assert (same.value, same.reason) == (None, "all networks are of one size")
    single = analysed(made(sizes=(1e4,)).done())
    assert single.quantities == {}
    assert single.notes[-1].endswith("was evaluated: net.")


def test_what_does_not_fit_is_one_line() -> None:
    study = made(seeds=2, sizes=(1e3, 1e4))
    study.add("net-0", "prune=seb", [50, 50], parameters=1)
    with pytest.raises(PruneryError, match=r"families\.net: prune=seb states no ratio"):
        analysed(study.done(), "prune=seb")
    study = ToyStudy(2)
    for base, ratio in (("net-0", 0.3), ("net-1", 0.5)):
        study.dense(base, [90, 90], Stage({}), parameters=10)
        study.add(base, f"prune=seb@{ratio}", [80, 80])
    with pytest.raises(PruneryError, match="the bases have no ratio in common"):
        analysed(study.done())
