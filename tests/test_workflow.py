"""The whole chain, run by Snakemake as a user runs it, on a study of one's own."""

from __future__ import annotations

import json
import re

import pytest

STUDY = {
    "study": "mine",
    "title": "A study of my own",
    "bases": {"net": {"data": "digits", "model": "tiny", "train": "quick", "seeds": "0-1"}},
    "recipes": [
        "net/prune={magnitude,seb}@0.5/finetune=quick",
        "net/prune=magnitude@0.5/distill=quick-kd/quantize=ptq",
    ],
    "measures": {"evaluate": ["standard"], "spectral_fit": ["mp"], "bench": {"brief": ["net/quantize=ptq"]}},
    "model": {"tiny": {"method": "mlp", "settings": {"widths": [24, 24]}}},
    "train": {"quick": {"method": "supervised", "settings": {"epochs": 12}}},
    "finetune": {"quick": {"method": "supervised", "settings": {"epochs": 1}}},
    "distill": {"quick-kd": {"method": "kd", "settings": {"epochs": 1}}},
    "bench": {"brief": {"method": "latency", "settings": {"backends": ["eager", "onnxruntime"], "rounds": 5}}},
}


@pytest.fixture(scope="module")
def study(tmp_path_factory, make_study):
    """A study that has run."""
    made = make_study(tmp_path_factory.mktemp("mine"), json.loads(json.dumps(STUDY)))
    answer = made.snakemake()
    assert answer.returncode == 0, answer.stdout + answer.stderr
    made.first_run = answer.stderr + answer.stdout
    return made


@pytest.mark.slow
def test_the_run_leaves_its_results_and_says_so(study):
    folder = study.folder / "results" / "mine"
    assert (folder / "report.html").stat().st_size > 10_000
    assert "net/seeds=0-1/prune=magnitude@0.5/finetune=quick," in (folder / "table.csv").read_text()
    leaf = folder / "net/seeds=0-1/prune=magnitude@0.5/distill=quick-kd/quantize=ptq"
    record = json.loads((leaf / "model.json").read_text())
    assert sorted(record["replicas"]) == ["0", "1"]
    assert "epoch 12/12" in study.first_run  # progress within jobs
    assert re.search(r"\d+ of \d+ steps", study.first_run)  # and of the whole
    figures = json.loads((leaf / "evaluate=standard.json").read_text())["replicas"]["0"]
    assert figures["test"]["accuracy"] > 0.5


@pytest.mark.slow
def test_masks_survive_tuning_distilling_and_quantizing(study):
    base = study.folder / "results/mine/net/seeds=0-1/prune=magnitude@0.5"
    for folder in (base, base / "finetune=quick", base / "distill=quick-kd", base / "distill=quick-kd/quantize=ptq"):
        replica = json.loads((folder / "model.json").read_text())["replicas"]["0"]["tensors"]
        weights = [key.removesuffix("/mask") for key in replica if key.endswith("/mask")]
        size = {key: replica[key]["shape"][0] * replica[key]["shape"][1] for key in weights}
        masked = sum(replica[f"{key}/mask"]["zeros"] * size[key] for key in weights)
        zeros = sum(replica[key]["zeros"] * size[key] for key in weights)
        assert masked == pytest.approx(sum(size.values()) // 2, abs=0.5)
        assert zeros >= masked - 0.5


@pytest.mark.slow
def test_a_second_run_does_nothing_and_says_so(study):
    answer = study.snakemake()
    assert answer.returncode == 0
    assert "Nothing to be done" in answer.stdout + answer.stderr


@pytest.mark.slow
def test_a_floor_that_is_not_kept_fails_its_evaluation_alone(study):
    figures = "net/seeds=0-1/prune={}@0.5/finetune=quick/evaluate=standard.json"
    study.config["floors"] = {"net/prune={magnitude,seb}@0.5/finetune=quick": 0.2}
    below = {f"evaluate {figures.format(name)}" for name in ("magnitude", "seb")}
    assert study.jobs() == {*below, "report report.html"}
    study.config["floors"] = {"net/prune=seb@0.5/finetune=quick": 1}
    assert study.jobs() == {f"evaluate {figures.format('seb')}", "report report.html"}
    path = study.results / figures.format("seb")
    kept = path.read_bytes()
    answer = study.snakemake()
    del study.config["floors"]
    path.write_bytes(kept)
    assert answer.returncode == 1
    assert "is below the floor 1 that the config sets" in answer.stdout + answer.stderr
    assert study.snakemake().returncode == 0


def test_a_mistake_in_the_config_is_one_line_before_any_job(tmp_path, make_study):
    config = json.loads(json.dumps(STUDY)) | {"recipes": ["net/prune=magnitud@0.5"]}
    answer = make_study(tmp_path, config).snakemake()
    said = [line for line in answer.stderr.splitlines() if line.startswith("prunery:")]
    assert answer.returncode == 1
    assert said == [
        "prunery: recipe net/seeds=0-1/prune=magnitud@0.5: unknown prune variant 'magnitud': did you mean 'magnitude'?"
    ]
    assert "Traceback" not in answer.stdout + answer.stderr


def test_nothing_of_the_default_config_leaks_into_a_study(tmp_path, make_study):
    answer = make_study(tmp_path, json.loads(json.dumps(STUDY))).snakemake("--dry-run")
    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert "digits-mlp" not in answer.stdout + answer.stderr
