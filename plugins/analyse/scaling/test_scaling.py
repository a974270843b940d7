"""Curves made by a known law: it is recovered, and preferred to the other."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from prunery_plugins.analyse.scaling.core import akaike, logarithmic, power_law

from prunery.errors import PruneryError
from prunery.registry import registry
from prunery.reporting.results import Results, Stage
from prunery.toyresults import ToyStudy

SCALING = registry().get("analyse", "scaling")
BITS = {"int2": 2, "int4": 4, "int8": 8, "fp16": 16, "bf16": 16, "fp32": 32}
STEPS = "quantize={int2,int4,int8,fp16,bf16,fp32}"


def made(law: Any, seeds: int = 8, noise: float = 0.1, generator: int = 0, bits: Any = None) -> ToyStudy:
    """A base of a thousand parameters in several formats; seeds differ by half a point, formats by `noise` more."""
    random, study = np.random.default_rng(generator), ToyStudy(seeds)
    own = 0.5 * random.standard_normal(seeds)
    study.dense("net", 90 + own, Stage({}, "", "mlp", {}, 10), parameters=1000, bits=32_000)
    for name, width in (bits or BITS).items():
        accuracies = law(width) + own + noise * random.standard_normal(seeds)
        study.add("net", f"quantize={name}", accuracies, parameters=1000, bits=1000 * width)
    return study


def analysed(results: Results, families: dict[str, Any] | None = None, **settings: Any) -> Any:
    chosen = {"families": families or {"net": {"bases": "net", "steps": STEPS}}, **settings}
    return SCALING(SCALING.Settings.model_validate(chosen)).analyse(results)


def test_fits_are_exact_where_the_law_is() -> None:
    x = np.array([2.0, 4, 8, 16, 32])
    fit = logarithmic(x, np.stack([10 + 3 * np.log2(x), 50 - np.log2(x)]))
    assert fit.factor.tolist() == pytest.approx([3, -1])
    assert fit.level.tolist() == pytest.approx([10, 50])
    assert fit.residual.tolist() == pytest.approx([0, 0])
    power = power_law(x, 80 - 120 * x**-1.5)
    assert float(power.exponent) == pytest.approx(1.5, rel=0.02)
    assert float(power.level) == pytest.approx(80, abs=0.1)
    assert power.at(x).tolist() == pytest.approx((80 - 120 * x**-1.5).tolist(), abs=0.2)


def test_the_criterion_by_hand() -> None:
    assert float(akaike(np.array(20.0), 10, 2)) == pytest.approx(10 * np.log(2) + 6 + 24 / 6)
    assert np.isnan(akaike(np.array(1.0), 4, 2))


def test_a_law_that_saturates_is_told_from_a_logarithm() -> None:
    steep = analysed(made(lambda bits: 75 - 200 * bits**-2.0).done()).quantities
    assert steep["net/aic_difference"].low > 10
    assert steep["net/power_exponent"].low <= 2 <= steep["net/power_exponent"].high * 1.02
    assert steep["net/saturation"].low < 75.2
    assert steep["net/saturation"].high > 74.8
    straight = analysed(made(lambda bits: 50 + 4 * np.log2(bits)).done()).quantities
    assert straight["net/log_slope"].value == pytest.approx(4, abs=0.1)
    assert straight["net/aic_difference"].value < 3
    assert straight["net/span"].value == pytest.approx(16, abs=0.5)
    assert straight["net/fewest_bits_accuracy"].value == pytest.approx(54, abs=1)


def test_intervals_of_the_slope_cover_the_truth() -> None:
    """Of 100 studies of eight seeds at least 90."""
    hits = 0
    for generator in range(100):
        study = made(lambda bits: 50 + 4 * np.log2(bits), generator=generator)
        slope = analysed(study.done(), resamples=200).quantities["net/log_slope"]
        hits += slope.low < 4 < slope.high
    assert hits >= 90


def test_seeds_are_resampled_whole() -> None:
    """The half point that a seed's networks share does not widen the slope's interval."""
    slope = analysed(made(lambda bits: 50 + 4 * np.log2(bits), noise=0.05).done()).quantities["net/log_slope"]
    assert slope.high - slope.low < 0.1


def test_tables_and_the_figure_hold_every_recipe() -> None:
    families = {"net": {"bases": "net", "steps": STEPS, "paper": [[4, 62.53]]}}
    found = analysed(made(lambda bits: 75 - 200 * bits**-2.0).done(), families)
    assert [row[0] for row in found.tables[1].rows] == [f"quantize={name}" for name in BITS]
    assert found.tables[0].rows[0][-1] == "power"
    names = [trace.get("name") for trace in found.figures[0].figure["data"]]
    assert names[-2:] == ["net: power", "net: paper"]
    whole = analysed(made(lambda bits: bits).done(), size="bits")
    assert whole.tables[1].rows[0][1] == "2,000"


def test_too_few_sizes_or_seeds_are_said() -> None:
    few = {"int4": 4, "int8": 8, "fp16": 16, "bf16": 16}
    told = analysed(made(float, bits=few).done(), {"net": {"bases": "net", "steps": f"quantize={{{','.join(few)}}}"}})
    assert told.quantities["net/power_exponent"].reason == "needs 4 different sizes"
    assert told.quantities["net/log_slope"].known
    single = analysed(made(float, seeds=1).done()).quantities
    assert single["net/log_slope"].reason == "one seed gives no interval"
    study = made(float)
    study.add("other", (), [50.0] * 8, parameters=1, bits=1)
    with pytest.raises(PruneryError, match=r"families\.net: it stands for the bases net, other"):
        analysed(study.done(), {"net": {"bases": "*", "steps": ["", STEPS]}})
    away = analysed(Results(), {"net": {"bases": "net", "steps": STEPS}})
    assert (away.quantities, away.tables, away.figures) == ({}, [], [])
