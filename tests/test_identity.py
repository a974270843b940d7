"""What jobs are told of their code, and code that changes behind a run's back."""

import time
from pathlib import Path

import pytest

from prunery.errors import PruneryError
from prunery.identity import check_unedited, identity, stage_code, stage_files
from prunery.registry import registry

SCRIPTS = Path(__file__).parents[1] / "scripts"


def told() -> dict:
    methods = registry()
    own, model = methods.configured("prune", "seb", {}), methods.configured("model", "mlp", {})
    code = {"stage": "prune", "code": stage_code("prune", SCRIPTS), "model": identity(methods, model)}
    return identity(methods, own) | code


def test_a_job_refuses_code_that_was_edited_after_planning():
    check_unedited(told(), registry(), SCRIPTS, since=0)  # files changed since 1970, but to what was planned
    for edited in (told() | {"code": "old"}, told() | {"fingerprint": "old"}):
        check_unedited(edited, registry(), SCRIPTS, since=time.time() + 60)  # nothing changed since: no comparison
        with pytest.raises(PruneryError, match="its code was edited while this run was under way: run again"):
            check_unedited(edited, registry(), SCRIPTS, since=0)


def test_train_and_data_answer_for_little():
    names = {stage: {path.name for path in stage_files(stage, SCRIPTS)} for stage in ("data", "train", "prune")}
    assert {"network.py", "gates.py", "measured.py", "checkpoint.py"} <= names["prune"]
    assert not names["train"] & {"gates.py", "measured.py", "registry.py", "config.py", "workflow.py", "export.py"}
    assert not names["data"] & {"checkpoint.py", "network.py", "training.py"}
