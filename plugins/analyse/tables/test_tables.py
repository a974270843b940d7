"""Tables of made-up results: every kind of column, the paper's numbers, and what is missing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError

from prunery.errors import PruneryError
from prunery.registry import registry
from prunery.reporting.results import Results, Stage
from prunery.toyresults import ToyStudy

TABLES = registry().get("analyse", "tables")
RECIPES = {
    "title": "Dense and pruned",
    "columns": {"acc": {"metric": "test_accuracy", "factor": 100}, "MiB": {"metric": "bits", "factor": 1 / 8 / 2**20}},
    "rows": {"dense": "net", "pruned": "net/prune=l1@0.5"},
    "paper": {"pruned": {"acc": 87.6}},
}
LAYERS = {
    "title": "Sensitivity",
    "recipe": "net",
    "calibrate": "alone",
    "columns": {"0.8": {"statistic": "accuracy", "at": 0.8, "factor": 100}, "trace": {"statistic": "trace"}},
    "rows": {"first": "fc1.weight"},
}


def made() -> Results:
    study = ToyStudy(3)
    study.dense("net", [90, 91, 92], Stage({}), bits=2**23)
    study.add("net", "prune=l1@0.5", [80, 81, 82], bits=2**22)
    results = study.done()
    maps = results.replicas.assign(evaluate="maps", test_overlap=[0.9, 0.8, 0.7] * 2)
    results.replicas = pd.concat([results.replicas, maps])
    timed = {"base": "net", "recipe": "dense", "bench": "quick", "backend": "eager", "status": "ok"}
    untimed = {**timed, "recipe": "prune=l1@0.5", "status": "no kernels"}
    results.bench = pd.DataFrame([timed | {"latency_ms": 2.0, "latency_ms_low": 1.9, "latency_ms_high": 2.2}, untimed])
    curve = {"share": np.array([0.2, 0.8]), "trace": np.array(5.0)}
    row = {seed: {"fc1.weight": {**curve, "accuracy": np.array([0.9, 0.3 + 0.01 * seed])}} for seed in range(3)}
    results.calibrations["net/seeds=0-2", "alone"] = row
    return results


def analysed(results: Results, recipes: Any = None, layers: Any = None) -> Any:
    chosen = {"recipes": {"table-10": RECIPES} if recipes is None else recipes, "layers": layers or {}}
    return TABLES(TABLES.Settings.model_validate(chosen)).analyse(results)


def test_cells_are_means_over_seeds_beside_the_papers_numbers() -> None:
    found = analysed(made(), layers={"table-9": LAYERS})
    assert [table.title for table in found.tables] == ["Sensitivity", "Dense and pruned"]  # 9 comes before 10
    table = found.tables[1]
    assert table.columns == ["", "acc", "Paper", "MiB"]
    assert table.rows[0][:3] == ["dense", "91.00\n[88.52, 93.48]", "–"]  # noqa: RUF001
    assert table.rows[1][2] == "87.6"
    assert table.rows[1][3] == "0.50\n[0.50, 0.50]"
    accuracy = found.quantities["table-10/pruned/acc"]
    assert (accuracy.value, accuracy.count) == (pytest.approx(81), 3)
    assert accuracy.high - accuracy.value == pytest.approx(4.3027 / 3**0.5, abs=1e-3)
    assert found.quantities["table-9/first/0.8"].value == pytest.approx(31)
    assert found.quantities["table-9/first/trace"].value == 5
    rooted = {**LAYERS, "columns": {"x": {"statistic": "trace", "root": True, "factor": 2}}}
    assert analysed(made(), {}, {"t": rooted}).quantities["t/first/x"].value == pytest.approx(2 * 5**0.5)


def test_other_evaluations_and_times_have_columns_too() -> None:
    columns = {
        "overlap": {"metric": "test_overlap", "evaluate": "maps"},
        "ms": {"metric": "latency_ms", "bench": "quick", "backend": "eager"},
    }
    table = {**RECIPES, "columns": columns, "paper": {}}
    method = TABLES(TABLES.Settings.model_validate({"recipes": {"t": table}, "layers": {"s": LAYERS}}))
    assert method.recipes() == ("net", "net/prune=l1@0.5")
    assert method.measures() == (
        "net/evaluate=maps", "net/bench=quick", "net/prune=l1@0.5/evaluate=maps", "net/prune=l1@0.5/bench=quick",
        "net/calibrate=alone",
    )  # fmt: skip
    told = method.analyse(made()).quantities
    assert told["t/dense/overlap"].value == pytest.approx(0.8)
    assert (told["t/dense/ms"].value, told["t/dense/ms"].low, told["t/dense/ms"].high) == (2.0, 1.9, 2.2)
    assert told["t/pruned/ms"].reason == "no kernels"


def test_differences_of_rows_are_paired_by_seed() -> None:
    """Seeds differ by a point, and every one loses exactly ten: the interval has no width."""
    columns = {"drop": {"metric": "test_accuracy", "factor": 100, "minus": "dense"}}
    told = analysed(made(), {"t": {**RECIPES, "columns": columns, "paper": {}}}).quantities
    assert told["t/pruned/drop"].value == pytest.approx(-10)
    assert told["t/pruned/drop"].high - told["t/pruned/drop"].low == pytest.approx(0, abs=1e-9)
    assert told["t/dense/drop"].value == 0
    columns["drop"]["minus"] = {"pruned": "dense"}
    told = analysed(made(), {"t": {**RECIPES, "columns": columns, "paper": {}}}).quantities
    assert told["t/pruned/drop"].value == pytest.approx(-10)
    assert told["t/dense/drop"].reason == "nothing is taken off"


SWEEP = {
    "title": "Pruned",
    "at": ["0.5", "0.7"],
    "figure": {"metric": "test_accuracy", "factor": 100},
    "rows": {"l1": "net/prune=l1@{at}", "random": "net/prune=random@{at}"},
    "paper": {"l1": [87.6, None]},
}


def swept(**change: Any) -> Any:
    return TABLES(TABLES.Settings.model_validate({"sweeps": {"t": {**SWEEP, **change}}}))


def test_a_sweep_has_a_column_for_each_amount() -> None:
    method = swept()
    assert method.recipes() == (
        "net/prune=l1@0.5", "net/prune=random@0.5", "net/prune=l1@0.7", "net/prune=random@0.7",
    )  # fmt: skip
    found = method.analyse(made())
    [table], [chart] = found.tables, found.figures
    assert table.columns == ["", "0.5", "0.7"]
    assert [row[0] for row in table.rows] == ["l1", "l1: paper", "random"]
    assert table.rows[0][1:] == ["81.00\n[78.52, 83.48]", "–"]  # noqa: RUF001
    assert table.rows[1][1:] == ["87.6", "–"]  # noqa: RUF001
    assert found.quantities["t/l1/0.5"].value == pytest.approx(81)
    assert found.quantities["t/random/0.7"].reason == "not evaluated"
    lines = [trace for trace in chart.figure["data"] if trace["mode"] == "lines+markers"]
    assert [(trace["name"], trace["x"], trace["y"]) for trace in lines] == [
        ("l1", [0.5], [81.0]), ("l1: paper", [0.5], [87.6]),
    ]  # fmt: skip
    assert not swept(at=["half", "most"]).analyse(made()).figures


def test_rows_of_a_sweep_are_paired_amount_by_amount() -> None:
    results = made()
    more = results.replicas[results.replicas["recipe"] == "prune=l1@0.5"].assign(recipe="prune=random@0.5")
    results.replicas = pd.concat([results.replicas, more.assign(test_accuracy=more["test_accuracy"] - 0.02)])
    told = swept(figure={**SWEEP["figure"], "minus": "random"}).analyse(results).quantities  # type: ignore[dict-item]
    assert told["t/l1/0.5"].value == pytest.approx(2)
    assert told["t/l1/0.5"].high - told["t/l1/0.5"].low == pytest.approx(0, abs=1e-9)


def test_a_row_of_a_sweep_may_be_set_against_another_recipe() -> None:
    told = swept(against={"l1": "net"}).analyse(made()).quantities
    assert set(told) == {"t/l1/0.5", "t/l1/0.7", "t/random/0.5", "t/random/0.7"}
    assert told["t/l1/0.5"].value == pytest.approx(-10)
    assert told["t/random/0.5"].reason == "nothing is taken off"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"against": {"l2": "net"}}, "against: unknown row 'l2'"),
        ({"against": {"l1": "net"}, "figure": {"metric": "bits", "minus": "random"}}, "against, or minus of the fig"),
        ({"paper": {"l2": [1, 2]}}, "paper: unknown row 'l2'"),
        ({"paper": {"l1": [1]}}, "paper.l1 has 1 numbers, there are 2 amounts"),
        ({"rows": {"a": "net/prune=l1@{0.1,0.2}"}, "paper": {}}, "stands for 2 recipes"),
        ({"figure": {"metric": "bits", "minus": "l2"}}, "unknown row 'l2'"),
    ],
)
def test_sweeps_that_contradict_themselves_are_refused(change: Any, says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        swept(**change)


def test_what_was_not_measured_is_left_out_and_said() -> None:
    results = made()
    results.calibrations.clear()
    found = analysed(results, layers={"table-9": LAYERS})
    assert found.quantities["table-9/first/0.8"].reason == "not measured"
    assert found.notes[-1] == "Left out, since nothing of them was measured: Sensitivity."
    nothing = analysed(Results())
    assert nothing.tables == []
    assert nothing.quantities["table-10/dense/acc"].reason == "not evaluated"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"rows": {"first": "fc2.weight"}}, r"layers\.t: unknown layer 'fc2\.weight': did you mean 'fc1\.weight'\?"),
        ({"columns": {"x": {"statistic": "trac"}}}, "layer fc1.weight: unknown statistic 'trac': did you mean 'trace'"),
        ({"columns": {"x": {"statistic": "accuracy"}}}, "accuracy of fc1.weight holds 2 values: say which, by at"),
        ({"columns": {"x": {"statistic": "accuracy", "at": 0.5}}}, "share of fc1.weight is never 0.5: it has 0.2, 0.8"),
    ],
)
def test_layers_that_do_not_fit_are_one_line(change: Any, says: str) -> None:
    with pytest.raises(PruneryError, match=says):
        analysed(made(), {}, {"t": {**LAYERS, **change}})


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"recipes": {"t": {**RECIPES, "paper": {"prund": {}}}}}, "paper: unknown row 'prund': did you mean 'pruned'"),
        ({"recipes": {"t": {**RECIPES, "paper": {"pruned": {"ac": 1}}}}}, "paper.pruned: unknown column 'ac'"),
        ({"recipes": {"t": {**RECIPES, "rows": {"a": "net/prune=l1@{0.1,0.2}"}, "paper": {}}}}, "stands for 2 recipes"),
        ({"recipes": {"t": {**RECIPES, "columns": {"x": {"metric": "bits", "minus": "dens"}}, "paper": {}}}}, "'dens'"),
        ({"recipes": {"t": RECIPES}, "layers": {"t": LAYERS}}, "two tables are called 't'"),
        ({"recipes": {"t": {**RECIPES, "columns": {"ms": {"metric": "latency_ms", "bench": "b"}}}}}, "a bench and a"),
    ],
)
def test_settings_that_contradict_themselves_are_refused(settings: Any, says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        TABLES.Settings.model_validate(settings)


def test_no_table_at_all_is_a_mistake():
    with pytest.raises(PruneryError, match="no table: give one"):
        registry().configured("analyse", "tables", {}).recipes()
