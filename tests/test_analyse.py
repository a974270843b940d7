"""The stage `analyse`: what it reads, when it runs again, and what the report and claims make of it."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import pytest

from prunery.commands.planning import planned
from prunery.commands.targets import target
from prunery.errors import PruneryError
from prunery.findings import Chart, Findings, Quantity, Table, read_findings
from prunery.packing import LONGEST, pack, unpack
from prunery.workflow import Workflow

ROOT = Path(__file__).parents[1]
RATIOS = "prune=magnitude@{0.2,0.5,0.9}"
STUDY = {
    "study": "sweep",
    "grids": {
        "net-{width}": {
            "data": "small", "train": "quick", "method": "mlp", "seeds": "0-2", "over": {"width": [1, 4, 12, 24]},
        },
    },
    "bases": {"other": {"data": "small", "model": "mlp", "train": "quick", "seeds": 0}},
    "recipes": [f"net-*/{RATIOS}", "net-*/quantize=ptq", "other", "other/prune=random@0.5"],
    "measures": {"analyse": ["minimal"]},
    "claims": ["claims.yaml"],
    "data": {"small": {"method": "digits", "settings": {"train_limit": 600}}},
    "train": {"quick": {"method": "supervised", "settings": {"epochs": 8, "learning_rate": 0.01, "patience": 3}}},
    "analyse": {
        "minimal": {
            "method": "regimes",
            "settings": {
                "size": "width",
                "families": {"net": {"bases": "net-*", "prune": RATIOS, "int8": {"recipe": "quantize=ptq"}}},
            },
        },
    },
}  # fmt: skip
CLAIMS = """
- id: best
  statement: The best network is better than chance.
  test: {kind: quantity, analyse: minimal, quantity: net/best_accuracy, expect: "> 30"}
- id: same
  statement: A quantity does not differ from itself by much.
  test: {kind: quantities, analyse: minimal, a: net/best_accuracy, b: net/best_accuracy, expect: "<= 50"}
- id: absent
  statement: Of a family that is not there.
  test: {kind: quantity, analyse: minimal, quantity: nett/best_accuracy, expect: "> 30"}
"""


def config(**keys: object) -> dict:
    return json.loads(json.dumps({**STUDY, "claims": [], **keys}))


def read(workflow: Workflow, variant: str = "minimal") -> list[str]:
    class Wildcards:
        analyse = variant

        def items(self) -> list[tuple[str, str]]:
            return [("analyse", variant)]

    return workflow.analysed(Wildcards())


# --- what it reads ---------------------------------------------------------------------------------------------------


def test_it_reads_the_evaluations_of_its_recipes_and_how_their_networks_trained():
    found = read(Workflow(config(), ROOT / "scripts"))
    base = "results/sweep/net-12/seeds=0-2"
    assert f"{base}/model.json" in found
    assert f"{base}/history.json" in found
    assert f"{base}/prune=magnitude@0.9/evaluate=standard.json" in found
    assert f"{base}/prune=magnitude@0.9/model.json" not in found
    assert not [file for file in found if "other" in file]
    assert len(found) == 4 * (2 + 1 + 3 + 1)


def test_the_study_wants_it_and_its_report_reads_it():
    workflow = Workflow(config(), ROOT / "scripts")
    assert workflow.wanted[-1] == "results/sweep/analyse=minimal.json"


def test_a_recipe_that_the_study_does_not_make_is_named():
    with pytest.raises(PruneryError) as caught:
        Workflow(config(recipes=["net-*/quantize=ptq"]), ROOT / "scripts")
    assert str(caught.value) == (
        "measures.analyse: minimal: it reads net-1/seeds=0-2/prune=magnitude@0.2, which the study does not make: "
        "list it under recipes"
    )


def tables(recipe: str = "net-4/quantize=ptq", calibrate: str = "activations") -> dict:
    """A study with tables that want a calibration, a bench and a second evaluation of one recipe."""
    columns = {
        "again": {"metric": "test_accuracy", "evaluate": "again"},
        "ms": {"metric": "latency_ms", "bench": "latency", "backend": "eager"},
    }
    layers = {"title": "L", "recipe": "net-4", "calibrate": calibrate, "rows": {"first": "fc1.weight"}}
    settings = {
        "recipes": {"r": {"title": "R", "columns": columns, "rows": {"one": recipe}}},
        "layers": {"l": {**layers, "columns": {"most": {"statistic": "output_max"}}}},
    }
    analyse = {**STUDY["analyse"], "table": {"method": "tables", "settings": settings}}
    return config(analyse=analyse, measures={"analyse": ["table"]}, evaluate={"again": {"method": "standard"}})


def test_it_may_read_other_measures_which_are_taken_for_it():
    workflow = Workflow(tables(), ROOT / "scripts")
    base = "results/sweep/net-4/seeds=0-2"
    wanted = {
        f"{base}/quantize=ptq/evaluate=again.json", f"{base}/quantize=ptq/bench=latency.json",
        f"{base}/calibrate=activations.safetensors",
    }  # fmt: skip
    assert wanted <= set(read(workflow, "table"))
    assert wanted <= set(workflow.wanted)
    assert not [file for file in workflow.wanted if "again" in file and "net-4/" not in file]
    assert Counter(rule for rule, _ in planned(workflow))["bench"] == 1


def test_dictionaries_of_settings_keep_their_order_on_the_way_to_a_job():
    asked = tables()
    columns = asked["analyse"]["table"]["settings"]["recipes"]["r"]["columns"]
    columns["a first column"] = columns.pop("again")  # behind `ms`, though it comes first in the alphabet
    workflow = Workflow(asked, ROOT / "scripts")
    told = json.loads(workflow.job("analyse")(SimpleNamespace(analyse="table")))
    assert list(told["settings"]["recipes"]["r"]["columns"]) == ["ms", "a first column"]


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ({"recipe": "net-4/quantize=qat"}, "it reads net-4/seeds=0-2/quantize=qat, which the study does not make"),
        ({"calibrate": "activation"}, "unknown calibrate variant 'activation': did you mean 'activations'?"),
    ],
)
def test_measures_that_cannot_be_taken_are_named(keys, says):
    with pytest.raises(PruneryError, match=says):
        Workflow(tables(**keys), ROOT / "scripts")


def test_it_can_be_asked_for_by_its_path():
    workflow = Workflow(config(), ROOT / "scripts")
    assert target(workflow, "results/sweep/analyse=minimal") == "results/sweep/analyse=minimal.json"
    with pytest.raises(PruneryError, match="unknown analyse variant 'minmal': did you mean 'minimal'"):
        target(workflow, "results/sweep/analyse=minmal.json")


def test_it_is_counted_among_the_jobs():
    rules = [rule for rule, _ in planned(Workflow(config(), ROOT / "scripts"))]
    assert rules.count("analyse") == 1
    assert rules.count("evaluate") == 4 * 5 + 2


# --- long command lines ----------------------------------------------------------------------------------------------


def test_the_files_of_a_large_study_fit_on_a_command_line():
    paths = [f"results/sweep/mlp-{n}/seeds=0-29/prune=l1@0.{n % 10}/evaluate=standard.json" for n in range(10_000)]
    text = json.dumps({"input": {"results": paths}})
    assert len(text) > 600_000
    assert len(pack(text)) < 50_000  # Linux admits 131,072 in one argument
    assert unpack(pack(text)) == text
    short = "x" * LONGEST
    assert pack(short) == unpack(short) == short


# --- findings --------------------------------------------------------------------------------------------------------


def test_findings_survive_a_file_and_damage_is_one_line(tmp_path):
    table = Table(title="t", columns=["a", "b"], rows=[["x", 1.5], [None, 2]])
    chart = Chart(title="c", figure={"data": [], "layout": {}})
    found = Findings(title="all", tables=[table], figures=[chart], quantities={"q": Quantity(value=1, low=0, high=2)})
    path = tmp_path / "analyse=x.json"
    path.write_text(found.model_dump_json())
    assert read_findings(path) == found
    path.write_text(path.read_text()[:-20])
    with pytest.raises(PruneryError, match="is no readable analysis"):
        read_findings(path)


def test_findings_that_contradict_themselves_are_refused():
    with pytest.raises(ValueError, match="low 2 is above high 1"):
        Quantity(value=1, low=2, high=1)
    with pytest.raises(ValueError, match="says why"):
        Quantity()
    with pytest.raises(ValueError, match="row 0 has 1 cells, there are 2 columns"):
        Table(title="t", columns=["a", "b"], rows=[["x"]])


# --- a real run ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def study(tmp_path_factory, make_study):
    """A sweep that has run."""
    made = make_study(tmp_path_factory.mktemp("sweep"), json.loads(json.dumps(STUDY)))
    made.folder.mkdir(exist_ok=True)
    (made.folder / "claims.yaml").write_text(CLAIMS)
    made.run()
    return made


@pytest.mark.slow
def test_a_sweep_is_analysed_shown_and_tested(study):
    found = read_findings(study.results / "analyse=minimal.json")
    best = found.quantities["net/best_accuracy"]
    assert best.count == 3
    assert best.low < best.value < best.high
    assert 30 < best.value <= 100
    assert found.quantities["net/int8_gap_at_largest"].value == pytest.approx(0, abs=10)
    assert len(found.figures) == 3
    page = (study.results / "report.html").read_text()
    assert 'id="analysis-minimal-table-0"' in page
    assert 'id="analysis-minimal-2"' in page
    assert '"minimal-2":{' in page
    verdicts = {entry["id"]: entry for entry in json.loads((study.results / "claims.json").read_text())}
    assert verdicts["best"]["verdict"] == "holds"
    assert verdicts["same"]["verdict"] == "holds"
    assert verdicts["absent"]["verdict"] == "not testable at this scale"
    assert "unknown quantity 'nett/best_accuracy': did you mean 'net/best_accuracy'?" in verdicts["absent"]["reason"]


@pytest.mark.slow
def test_it_runs_again_when_what_it_reads_changes_and_only_then(study):
    assert study.jobs() == set()
    recipes = study.config["recipes"]
    study.config["recipes"] = [*recipes, "other/prune=magnitude@0.5"]
    assert not [job for job in study.jobs() if job.startswith("analyse")]
    study.config["recipes"] = recipes
    study.config["train"]["quick"]["settings"]["epochs"] = 9
    assert "analyse analyse=minimal.json" in study.jobs()
    study.config["train"]["quick"]["settings"]["epochs"] = 8
    settings = study.config["analyse"]["minimal"]["settings"]
    settings["within"] = 4
    assert study.jobs() == {"analyse analyse=minimal.json", "report report.html"}
    del settings["within"]
    assert study.jobs() == set()
