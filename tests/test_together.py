"""Bases of a grid that one job trains: what runs, what runs again, and that every checkpoint is a file of its own."""

from __future__ import annotations

import json
from copy import deepcopy

import pytest

from prunery.errors import PruneryError
from prunery.grids import Grid, batches

GRID = {
    "data": "digits",
    "train": "quick",
    "method": "mlp",
    "seeds": "0-2",
    "over": {"width": [2, 5], "shape": {"each": ["increase", "decrease"], "times": 1}},
    "settings": {"depth": 2},
    "together": ["shape"],
}
STUDY = {
    "study": "company",
    "bases": {},
    "grids": {"net-{width}-{shape}": GRID},
    "recipes": ["net-*"],
    "train": {"quick": {"method": "supervised", "settings": {"epochs": 1}}},
}


def changed(**grid) -> dict:
    config = deepcopy(STUDY)
    config["grids"]["net-{width}-{shape}"] |= grid
    return config


def test_batches_go_by_the_keys_that_are_not_together():
    template = "net-{width}-{shape}"
    assert batches(template, Grid(**GRID)) == {
        "net-2-all": ["net-2-i", "net-2-d"],
        "net-5-all": ["net-5-i", "net-5-d"],
    }
    assert list(batches(template, Grid(**{**GRID, "together": ["shape", "width"]}))) == ["net-all-all"]
    assert batches(template, Grid(**{**GRID, "together": []})) == {}
    with pytest.raises(PruneryError, match="unknown key of over 'shap': did you mean 'shape'"):
        batches(template, Grid(**{**GRID, "together": ["shap"]}))


@pytest.mark.slow
def test_a_batch_is_one_job_and_its_members_are_files(tmp_path, make_study):
    study = make_study(tmp_path, STUDY)
    study.run()
    logs = sorted(path.parent.parent.name for path in tmp_path.glob("logs/**/train.log"))
    assert logs == ["net-2-all", "net-5-all"]
    for name in ("net-2-i", "net-2-d", "net-5-i", "net-5-d"):
        folder = study.results / name / "seeds=0-2"
        record = json.loads((folder / "model.json").read_text())
        assert sorted(path.name for path in folder.glob("*.safetensors")) == [
            f"{seed}.safetensors" for seed in range(3)
        ]
        assert list(json.loads((folder / "history.json").read_text())) == ["0", "1", "2"]
        shape = record["network"]["settings"]["shape"]
        assert shape == [{"i": "increase", "d": "decrease"}[name[-1]]]
        assert record["replicas"]["0"]["tensors"]["fc1.weight"]["shape"] == [int(name[4]), 64]
    assert study.jobs() == set()

    # another width is another batch, and the report; the old ones stay
    study.config = changed(over={**GRID["over"], "width": [2, 5, 3]})
    assert {job for job in study.jobs() if job.startswith("train")} == {"train_net-3-all net-3-i/seeds=0-2"}

    # a third shape changes the company of every batch
    shapes = {"each": ["increase", "decrease", "equal"], "times": 1}
    study.config = changed(over={**GRID["over"], "shape": shapes})
    trained = {job for job in study.jobs() if job.startswith("train")}
    assert trained == {"train_net-2-all net-2-i/seeds=0-2", "train_net-5-all net-5-i/seeds=0-2"}

    # other seeds may be asked for on the command line: those of one base alone
    study.config = STUDY
    asked = study.jobs("results/company/net-2-d/seeds=7-8/model.json")
    assert asked == {"train net-2-d/seeds=7-8"}
