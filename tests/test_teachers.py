"""Who is whose teacher in a study: inputs of jobs, students from nothing, teachers of another architecture."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from prunery.commands.planning import Wildcards, planned
from prunery.workflow import Workflow

ROOT = Path(__file__).parents[1]
SETTINGS = {"epochs": 1, "batch_size": 256}
STUDY = {
    "study": "school",
    "recipes": ["small/distill={alone,led,taught,own}", "small/distill=taught/quantize=ptq"],
    "bases": {
        "large": {"data": "digits", "model": "wide", "train": "quick", "seeds": 3},
        "small": {"data": "digits", "model": "narrow", "train": "none", "seeds": "0-1"},
    },
    "model": {
        "wide": {"method": "cnn", "settings": {"channels": 8}},
        "narrow": {"method": "mlp", "settings": {"width": 12, "depth": 2}},
    },
    "train": {
        "quick": {"method": "supervised", "settings": SETTINGS},
        "none": {"method": "supervised", "settings": {"epochs": 0}},
    },
    "distill": {
        "alone": {"method": "independent", "settings": {**SETTINGS, "teacher": "large"}},
        "led": {"method": "crd", "settings": {**SETTINGS, "teacher": "large"}},
        "taught": {"method": "dkd", "settings": {**SETTINGS, "teacher": "large"}},
        "own": {"method": "kd", "settings": SETTINGS},
        "smooth": {"method": "label_smoothing", "settings": SETTINGS},
    },
}
SMALL = "small/seeds=0-1"
LARGE = "results/school/large/seeds=3-3/model.json"


def test_teachers_are_inputs_of_those_who_learn_from_them_and_of_evaluations():
    study = Workflow(STUDY, ROOT / "scripts")

    def inputs(steps):
        parent, _, last = f"{SMALL}/{steps}".rpartition("/")
        learns = study.teacher(Wildcards(parent=parent, distill=last.partition("=")[2])) if "distill" in last else []
        return learns, study.compared(Wildcards(folder=f"{SMALL}/{steps}"))

    own = f"results/school/{SMALL}/model.json"
    assert inputs("distill=taught") == ([LARGE], [LARGE])
    assert inputs("distill=alone") == ([], [LARGE])
    assert inputs("distill=own") == ([own], [own])
    assert inputs("distill=smooth") == ([], [])
    assert inputs("distill=taught/quantize=ptq") == ([], [LARGE])
    assert inputs("distill=taught/distill=smooth") == ([], [])
    assert study.compared(Wildcards(folder=SMALL)) == []


def test_a_teacher_that_is_only_compared_with_is_made():
    jobs = planned(Workflow(STUDY | {"recipes": ["small/distill=alone"]}, ROOT / "scripts"))
    assert sorted(wildcards.base for rule, wildcards in jobs if rule == "train") == ["large", "small"]


@pytest.mark.slow
def test_students_from_nothing_learn_from_another_architecture(tmp_path, make_study):
    study = make_study(tmp_path, STUDY)
    study.run()

    def figures(steps, split="test"):
        return json.loads((study.results / SMALL / steps / "evaluate=standard.json").read_text())["replicas"]["1"][
            split
        ]

    for steps in ("distill=alone", "distill=led", "distill=taught", "distill=taught/quantize=ptq"):
        found = figures(steps)
        assert found["teacher_divergence"] > 0
        assert found["teacher_divergence"] != pytest.approx(found["divergence"], rel=1e-6)
    assert figures("distill=own")["teacher_divergence"] == figures("distill=own")["divergence"]
    assert "teacher_divergence" not in figures("")
    assert json.loads((study.results / SMALL / "history.json").read_text())["0"] == []
    assert study.jobs() == set()
