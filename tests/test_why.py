"""`prunery why`, on a study that consists of generated plugins: what it says after each kind of change."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from prunery.cli import main
from prunery.commands.dryrun import _record_name, parse
from prunery.commands.targets import target
from prunery.commands.templates import STAGES
from prunery.errors import PruneryError
from prunery.workflow import Workflow

COMMAND = Path(sys.executable).parent / "prunery"
ROOT = Path(__file__).parents[1]
BRIEF = {"epochs": 2}
DENSE = "results/mine/net/seeds=0-1"
PRUNED = f"{DENSE}/prune=my-prune@0.5"
TUNED = f"{PRUNED}/finetune=brief"
STUDY = {
    "study": "mine",
    "plugins": ["my_methods"],
    "bases": {"net": {"data": "my-data", "model": "small", "train": "quick", "seeds": "0-1"}},
    "recipes": ["net/prune=my-prune@0.5/finetune=brief/quantize=my-quantize", "net/distill=match"],
    "measures": {
        "evaluate": ["standard", "my-evaluate"],
        "spectral_fit": ["my-spectral_fit"],
        "calibrate": ["my-calibrate"],
        "analyse": ["my-analyse"],
    },
    "model": {"small": {"method": "my-model", "settings": {"width": 16}}},
    "train": {"quick": {"method": "my-train", "settings": BRIEF}},
    "finetune": {"brief": {"method": "my-finetune", "settings": BRIEF}},
    "distill": {"match": {"method": "my-distill", "settings": BRIEF}},
}


@pytest.fixture(scope="module")
def study(tmp_path_factory, make_study, copy_code):
    """A study that has run, by a plugin of every stage that has a template, from a copy of this code."""
    folder = tmp_path_factory.mktemp("why")
    for stage in STAGES:
        assert main(["new", str(folder / "my_methods" / f"my-{stage}"), "--stage", stage]) == 0
    made = make_study(folder, {**STUDY}, code=copy_code(folder / "code"))
    made.run()
    return made


@pytest.fixture
def why(study):
    """A function that asks why and answers the lines, blanks left out."""

    def ask(path: str, *arguments: str) -> list[str]:
        study.command()  # writes the config
        place = ["--snakefile", study.code / "Snakefile", "--directory", study.folder, "--configfile", "my.yaml"]
        command = [COMMAND, "why", path, *map(str, place), *arguments]
        answer = subprocess.run(
            command, capture_output=True, text=True, env=study.environment, cwd=study.folder, check=False
        )
        assert answer.returncode == 0, answer.stderr
        return [line for line in answer.stdout.splitlines() if line]

    return ask


@pytest.mark.slow
def test_generated_plugins_of_every_stage_do_their_work_in_a_run(study):
    leaf = study.folder / TUNED / "quantize=my-quantize"
    for name in ("model.json", "evaluate=standard.json", "evaluate=my-evaluate.json"):
        assert (leaf / name).stat().st_size > 0
    dense = study.folder / DENSE
    assert (dense / "spectral_fit=my-spectral_fit.json").exists()
    assert (dense / "calibrate=my-calibrate.safetensors").exists()
    assert (dense / "distill=match" / "history.json").exists()
    assert '"best_accuracy":' in (study.folder / "results/mine/analyse=my-analyse.json").read_text()


@pytest.mark.slow
def test_what_is_up_to_date_is_said_to_be(why):
    assert why("results/mine") == ["results/mine/report.html is up to date"]


@pytest.mark.slow
def test_a_changed_setting_is_named_with_both_values(study, why):
    study.config["finetune"] = {"brief": {"method": "my-finetune", "settings": {"epochs": 3}}}
    try:
        said = why(f"{TUNED}/quantize=my-quantize")
    finally:
        study.config["finetune"] = STUDY["finetune"]
    assert said == [
        f"{TUNED}/quantize=my-quantize/model.json is out of date: 3 jobs would run",
        f"  finetune  {TUNED}/model.json",
        "    the setting epochs was 2, is 3",
        "and after that, since their inputs are made again:",
        f"  calibrate  {TUNED}/calibrate=activations.safetensors",
        f"  quantize  {TUNED}/quantize=my-quantize/model.json",
    ]


@pytest.mark.slow
def test_edits_of_a_method_and_of_the_library_are_told_apart(study, why):
    method, stage = study.folder / "my_methods/my-prune/__init__.py", study.code / "scripts/finetune.py"
    kept = [path.read_text() for path in (method, stage)]
    method.write_text(kept[0] + "\nunused = 1\n")
    stage.write_text(kept[1] + "\nunused = 1\n")
    try:
        said = why(f"{TUNED}/0.safetensors")
    finally:
        method.write_text(kept[0])
        stage.write_text(kept[1])
    assert said == [
        f"{TUNED}/model.json is out of date: 2 jobs would run",
        f"  prune  {PRUNED}/model.json",
        "    the code of the method my-prune has changed (its files, or what they import)",
        f"  finetune  {TUNED}/model.json",
        "    the code of the stage finetune has changed (its script, or the library behind it)",
    ]


@pytest.mark.slow
def test_missing_altered_and_unlisted_files_are_told_apart(study, why):
    lost, altered = study.folder / PRUNED / "model.json", study.folder / "results/mine/data=my-data.safetensors"
    kept = lost.read_bytes(), altered.read_bytes()
    lost.unlink()
    altered.write_bytes(kept[1] + b" ")
    try:
        said = why(f"{DENSE}/prune=my-prune@0.5")
        never = why(f"{DENSE}/prune=my-prune@0.9/evaluate=standard")
    finally:
        lost.write_bytes(kept[0])
        altered.write_bytes(kept[1])
    assert said == [
        f"{PRUNED}/model.json was made before, but is gone: 2 jobs would run",
        f"  train  {DENSE}/model.json",
        "    the content of its input results/mine/data=my-data.safetensors has changed",
        f"  prune  {PRUNED}/model.json",
        "    model.json was made before, but is gone",
    ]
    wanted = f"{DENSE}/prune=my-prune@0.9/evaluate=standard.json"
    assert never[0] == f"{wanted} was never made: 3 jobs would run"
    assert never[-2:] == [f"  evaluate  {wanted}", "    evaluate=standard.json was never made"]


# --- without a run ---------------------------------------------------------------------------------------------------


@pytest.fixture
def plain() -> Workflow:
    keys = {key: value for key, value in STUDY.items() if key in ("study", "measures", "train", "finetune")}
    keys |= {"bases": {"net": {"data": "digits", "model": "mlp", "train": "supervised", "seeds": "0-1"}}}
    return Workflow(keys | {"recipes": [], "measures": {}, "train": {}, "finetune": {}}, ROOT / "scripts")


@pytest.mark.parametrize(
    ("path", "file"),
    [
        ("results/mine/", "results/mine/report.html"),
        ("results/mine/table.csv", "results/mine/table.csv"),
        ("results/mine/data=digits.safetensors", "results/mine/data=digits.safetensors"),
        ("results/mine/net/seeds=0-1", f"{DENSE}/model.json"),
        ("results/mine/net", f"{DENSE}/model.json"),
        ("results/mine/net/seeds=0-1/history.json", f"{DENSE}/history.json"),
        ("./results/mine/net/seeds=0-1/1.companions.safetensors", f"{DENSE}/model.json"),
        (f"{DENSE}/prune=seb@0.5/spectral_fit=mp", f"{DENSE}/prune=seb@0.5/spectral_fit=mp.json"),
        (f"{DENSE}/calibrate=activations", f"{DENSE}/calibrate=activations.safetensors"),
    ],
)
def test_a_path_stands_for_a_file_of_the_workflow(plain, path, file):
    assert target(plain, path) == file


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("elsewhere/net", "elsewhere/net is not below results/mine, where the results of 'mine' lie"),
        ("results/mine/nett/seeds=0-1", "unknown base 'nett': did you mean 'net'?"),
        (f"{DENSE}/prune=sebb@0.5", "unknown prune variant 'sebb': did you mean 'seb'?"),
        (f"{DENSE}/prun=seb@0.5", "unknown stage 'prun': did you mean 'prune'?"),
        (f"{DENSE}/evaluate=standrd.json", "unknown evaluate variant 'standrd': did you mean 'standard'?"),
        ("results/mine/data=digts.safetensors", "unknown data 'digts': did you mean 'digits'?"),
    ],
)
def test_a_path_that_the_study_does_not_know_is_one_line(plain, path, says):
    with pytest.raises(PruneryError) as raised:
        target(plain, path)
    assert says in str(raised.value)


def test_mistakes_around_the_path_are_one_line(tmp_path, capsys):
    for arguments, says in (
        (["--snakefile", str(tmp_path / "Snakefile")], "run this in Prunery's folder, or give --snakefile"),
        (["--snakefile", str(ROOT / "Snakefile"), "--configfile", "nowhere.yaml"], "there is no file"),
        (["--snakefile", str(ROOT / "Snakefile"), "--directory", "nowhere"], "there is no folder nowhere"),
    ):
        assert main(["why", "results", *arguments]) == 1
        error = capsys.readouterr().err
        assert says in error
        assert error.count("\n") == 1


def test_a_dry_run_is_read_whatever_params_hold():
    text = """
rule prune:
    input: results/net/seeds=0-1/model.json, results/net/seeds=0-1/spectral_fit=mp.json
    output: results/net/seeds=0-1/prune=seb@0.5/model.json
    jobid: 2
    reason: Missing output files: a; Params have changed since last execution: before: '{"x": "; b: c"}' now: '{}' ; \
Set of input files has changed since last execution
    wildcards: parent=net/seeds=0-1, prune=seb@0.5
rule report:
    output: results/report.html, results/table.csv
    reason: Updated input files: one, two
"""
    first, second = parse(text)
    assert (first.rule, first.wildcards.parent, first.wildcards["prune"]) == ("prune", "net/seeds=0-1", "seb@0.5")
    assert first.inputs[1] == "results/net/seeds=0-1/spectral_fit=mp.json"
    assert first.reasons == {
        "Missing output files": ("a",),
        "Params have changed since last execution": (),
        "Set of input files has changed since last execution": (),
    }
    assert second.reasons == {"Updated input files": ("one", "two")}


def test_notes_on_long_paths_are_found_where_snakemake_puts_them(tmp_path):
    from snakemake.persistence.file import FilePersistence

    for name in ("results/a", "results/" + "finetune=short/" * 40):
        there = FilePersistence._record_path(type("", (), {"_fetch_max_len": lambda *_: 255})(), "metadata", name)
        assert Path(there) == Path("metadata") / _record_name(tmp_path, name)
