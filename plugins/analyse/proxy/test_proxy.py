"""Proxies that go with the drop and others that do not, budgets that are kept and some that are not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from prunery.errors import PruneryError
from prunery.registry import registry
from prunery.reporting.results import Results, Stage
from prunery.toyresults import ToyStudy

PROXY = registry().get("analyse", "proxy")
RATIOS = (0.1, 0.3, 0.5, 0.7)
STEPS = "prune=seb@{0.1,0.3,0.5,0.7}"


def made(seeds: int = 5, bases: tuple[str, ...] = ("net",), noise: float = 0.0, word: str = "") -> Results:
    """Drops of 20 R² points (of the second base twice that). Proxies are as large, but for noise; budgets are a tenth
    of that, and losses change by a quarter of them. Layers have proxies 1, 3, 5 and 7."""
    random, study, certificates, layers = np.random.default_rng(0), ToyStudy(seeds), [], []
    for place, base in enumerate(bases):
        study.dense(base, np.full(seeds, 90.0), Stage({}, "", "vit", {}, 10))
        for ratio in RATIOS:
            drops = 20 * (1 + place) * ratio**2 + 0.1 * random.standard_normal(seeds)
            study.add(base, f"prune=seb@{ratio}", 90 - drops)
            proxies = drops + noise * random.standard_normal(seeds)
            for seed, drop in enumerate(drops):
                own = {"path": study.rows[-1]["path"], "evaluate": "certificate", "seed": seed}
                told = {"test_proxy": proxies[seed], f"test_budget{word}": drop / 10, "test_loss_change": -drop / 40}
                certificates.append({**own, **told})
                layers += [{**own, "key": f"{key}.weight", "test_proxy": 2.0 * key + 1} for key in range(4)]
    study.rows += certificates
    results = study.done()
    results.layers = pd.DataFrame(layers)
    return results


def analysed(results: Results, families: dict[str, Any] | None = None, **settings: Any) -> Any:
    chosen = {"families": families or {"net": {"bases": "net", "steps": STEPS}}, **settings}
    return PROXY(PROXY.Settings.model_validate(chosen)).analyse(results)


def test_a_proxy_that_is_the_drop_and_budgets_that_are_kept() -> None:
    found = analysed(made())
    told = found.quantities
    assert told["net/proxy_drop_r"].value == pytest.approx(1)
    assert told["net/proxy_drop_rho"].low == pytest.approx(1)
    assert told["net/budget_drop_r"].value == pytest.approx(1)
    assert (told["net/exceeded"].value, told["net/compared"].value) == (0, 20)
    assert told["net/most_spent"].value == pytest.approx(0.25)
    assert "pooled/proxy_drop_r" not in told
    assert [len(table.rows) for table in found.tables] == [1, 4]
    assert len(found.figures) == 2


def test_correlations_are_those_of_numpy_over_means() -> None:
    results = made(noise=3)
    rows = results.replicas[results.replicas["evaluate"] == "certificate"]
    proxies = rows.groupby("path")["test_proxy"].mean()
    drops = 10 * rows.groupby("path")["test_budget"].mean()
    told = analysed(results).quantities["net/proxy_drop_r"]
    assert told.value == pytest.approx(np.corrcoef(proxies, drops)[0, 1])
    assert told.low < told.value < told.high
    assert told.value < 0.999


def test_budgets_that_are_exceeded_are_counted() -> None:
    results = made()
    table = results.replicas
    beyond = (table["evaluate"] == "certificate") & (table["seed"] < 2)
    table.loc[beyond, "test_loss_change"] *= 5  # 1.25 of the budget
    told = analysed(results).quantities
    assert (told["net/exceeded"].value, told["net/exceeded"].low) == (8, 8)
    assert told["net/most_spent"].value == pytest.approx(1.25)


def test_sampled_budgets_say_so() -> None:
    found = analysed(made(word="_sampled"))
    assert found.quantities["net/exceeded_sampled"].value == 0
    assert "net/exceeded" not in found.quantities
    assert "Some constants were sampled" in found.notes[1]


def test_architectures_together() -> None:
    families = {name: {"bases": name, "steps": STEPS} for name in ("net", "other", "away")}
    found = analysed(made(bases=("net", "other")), families)
    assert found.quantities["pooled/proxy_drop_r"].value == pytest.approx(1)
    assert found.tables[0].rows[-1][0] == "pooled"
    assert found.notes[-1].endswith("was evaluated: away.")


def test_edges_over_layers() -> None:
    results = made()
    rows = {f"{key}.weight": {"sigma_plus": edge} for key, edge in enumerate((4.0, 3.0, 2.0, 1.0))}
    results.spectra["net/seeds=0-4", "mp"] = {str(seed): rows for seed in range(5)}
    told = analysed(results, fit="mp").quantities["net/edge_proxy_r"]
    assert told.value == pytest.approx(np.corrcoef([16, 9, 4, 1], [1, 3, 5, 7])[0, 1])
    assert "net/edge_proxy_r" not in analysed(results).quantities


def test_proxies_without_budgets_few_recipes_and_one_seed() -> None:
    results = made()
    results.replicas = results.replicas.drop(columns=["test_budget", "test_loss_change"])
    told = analysed(results).quantities
    assert told.keys() == {"net/proxy_drop_r", "net/proxy_drop_rho"}
    few = analysed(made(), {"net": {"bases": "net", "steps": "prune=seb@{0.1,0.3}"}}).quantities["net/proxy_drop_r"]
    assert (few.value, few.reason) == (None, "needs 3 recipes that are not all alike")
    alone = analysed(made(seeds=1)).quantities["net/proxy_drop_r"]
    assert (alone.value, alone.reason) == (pytest.approx(1), "one seed gives no interval")


def test_what_does_not_fit_is_one_line() -> None:
    with pytest.raises(PruneryError, match=r"families\.all: it stands for the bases net, other: make a family of each"):
        analysed(made(bases=("net", "other")), {"all": {"bases": "*", "steps": STEPS}})
    with pytest.raises(ValueError, match="the name stands for all families together"):
        analysed(made(), {"pooled": {"bases": "net", "steps": STEPS}})


def test_certificates_and_spectra_are_asked_for() -> None:
    families = {"net": {"bases": "net", "steps": ["prune=seb@0.1", "prune=seb@0.3"]}}
    method = PROXY(PROXY.Settings.model_validate({"families": families, "fit": "mp"}))
    assert method.measures() == (
        "net/evaluate=certificate", "net/prune=seb@0.1/evaluate=certificate",
        "net/prune=seb@0.3/evaluate=certificate", "net/spectral_fit=mp",
    )  # fmt: skip
