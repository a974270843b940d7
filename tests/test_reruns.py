"""What runs again after an edit and what does not: the job lists of real dry runs on a study that has run.

The study holds a job of every rule. It runs from a copy of the code, so that the built-in methods can be edited.
"""

from __future__ import annotations

import json
import struct
import subprocess
import sys
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

from prunery.fingerprint import library_files, method_files
from prunery.identity import stage_files
from prunery.registry import registry

pytestmark = pytest.mark.slow

NET = "net/seeds=0-1"
PRUNED = f"{NET}/prune=magnitude@0.5"
TUNED = f"{PRUNED}/finetune=quick"
INTEGERS = f"{TUNED}/quantize=ptq"
SPECTRAL = f"{NET}/prune=seb@0.5"
TAUGHT = f"{SPECTRAL}/distill=quick"
OWN = "own/seeds=0-1"

STUDY = {
    "study": "edits",
    "bases": {
        "net": {"data": "digits", "model": "tiny", "train": "quick", "seeds": "0-1"},
        "own": {"data": "mine", "model": "tiny", "train": "quick", "seeds": "0-1"},
    },
    "recipes": [
        "net/prune=magnitude@0.5/finetune=quick/quantize=ptq",
        "net/prune=seb@0.5/distill=quick",
        "own/prune=random@0.5",
    ],
    "measures": {"bench": {"brief": ["net/prune=magnitude@0.5"]}},
    "model": {"tiny": {"method": "mlp", "settings": {"widths": [24]}}},
    "train": {"quick": {"method": "supervised", "settings": {"epochs": 2}}},
    "finetune": {
        "quick": {"method": "supervised", "settings": {"epochs": 1}},
        "unused": {"method": "supervised", "settings": {"epochs": 9}},
    },
    "distill": {"quick": {"method": "kd", "settings": {"epochs": 1}}},
    "bench": {"brief": {"method": "latency", "settings": {"backends": ["eager"], "rounds": 5}}},
}

ALL = {
    "data data=digits.safetensors",
    f"train {NET}",
    f"evaluate {NET}/evaluate=standard.json",
    f"prune {PRUNED}",
    f"evaluate {PRUNED}/evaluate=standard.json",
    f"bench {PRUNED}/bench=brief.json",
    f"finetune {TUNED}",
    f"evaluate {TUNED}/evaluate=standard.json",
    f"calibrate {TUNED}/calibrate=activations.safetensors",
    f"quantize {INTEGERS}",
    f"evaluate {INTEGERS}/evaluate=standard.json",
    f"spectral_fit {NET}/spectral_fit=mp.json",
    f"prune {SPECTRAL}",
    f"evaluate {SPECTRAL}/evaluate=standard.json",
    f"distill {TAUGHT}",
    f"evaluate {TAUGHT}/evaluate=standard.json",
    "data data=mine.safetensors",
    f"train {OWN}",
    f"evaluate {OWN}/evaluate=standard.json",
    f"prune {OWN}/prune=random@0.5",
    f"evaluate {OWN}/prune=random@0.5/evaluate=standard.json",
    "report report.html",
}
"""Every job of the study."""


TELL = """
import sys
from pathlib import Path
method, loaded = job.told.get("method", ""), sorted(name for name in sys.modules if name.startswith("prunery"))
Path(f"{job.stage},{method}.txt").write_text(" ".join(loaded))
"""
"""Ends every script of the copied code: a job says what it has imported."""


def below(*paths: str) -> set[str]:
    """The jobs whose outputs are or lie below these, and the report, which is made of all."""
    return {job for job in ALL if job.partition(" ")[2].startswith((*paths, "report.html"))}


def write_idx(folder: Path, seed: int) -> None:
    """Two hundred small random pictures of three classes, in the format of MNIST."""
    folder.mkdir(exist_ok=True)
    draw = np.random.default_rng(seed)
    for name, count in (("train", 150), ("t10k", 50)):
        arrays = {"images-idx3": draw.integers(0, 256, (count, 8, 8)), "labels-idx1": draw.permutation(count) % 3}
        for kind, values in arrays.items():
            head = struct.pack(f">HBB{values.ndim}I", 0, 8, values.ndim, *values.shape)
            (folder / f"{name}-{kind}-ubyte").write_bytes(head + values.astype(np.uint8).tobytes())


@pytest.fixture(scope="module")
def study(tmp_path_factory, copy_code, make_study):
    """A study that has run, and the bytes of its results."""
    folder = tmp_path_factory.mktemp("reruns")
    write_idx(folder / "pictures", seed=0)
    config = json.loads(json.dumps(STUDY))
    config["data"] = {"mine": {"method": "idx", "settings": {"folder": str(folder / "pictures")}}}
    made = make_study(folder / "study", config, copy_code(folder / "code"))
    for script in (made.code / "scripts").iterdir():
        script.write_text(script.read_text() + TELL)
    assert made.jobs() == ALL
    made.run()
    made.bytes = results(made)
    return made


def results(study) -> dict[str, bytes]:
    """The study's files by path; without what holds measured times."""
    timed = ("bench=brief.json", "report.html", "table.csv")
    files = [path for path in study.results.rglob("*") if path.is_file() and path.name not in timed]
    return {str(path.relative_to(study.results)): path.read_bytes() for path in files}


@contextmanager
def edited(path: Path, old: str, new: str):
    """A text file with one passage replaced, put back at the end."""
    kept = path.read_text()
    assert kept.count(old) == 1, f"{old!r} stands {kept.count(old)} times in {path}"
    path.write_text(kept.replace(old, new))
    try:
        yield
    finally:
        path.write_text(kept)


@contextmanager
def without(path: Path):
    """A file taken away, put back at the end."""
    path.rename(path.with_name("away"))
    try:
        yield
    finally:
        path.with_name("away").rename(path)


# --- code ------------------------------------------------------------------------------------------------------------

END = "\n\ndef later() -> None:\n    print('new')\n"


@pytest.mark.parametrize(
    ("file", "expected"),
    [
        ("plugins/prune/magnitude/core.py", below(PRUNED)),
        ("plugins/data/idx/core.py", below("data=mine", OWN)),
        ("plugins/spectral_fit/mp/core.py", below(f"{NET}/spectral_fit", SPECTRAL)),
        ("plugins/backend/eager/__init__.py", below(f"{PRUNED}/bench")),
        ("prunery/quantize.py", below(INTEGERS)),
        ("scripts/distill.py", below(TAUGHT)),
        ("prunery/reporting/templates/speed.html.j2", below("report.html")),
    ],
)
def test_an_edit_of_code_runs_its_jobs_and_their_descendants(study, file, expected):
    path = study.code / file
    with edited(path, (text := path.read_text()), text + END):
        assert study.jobs() == expected


def test_words_unused_code_and_clocks_run_nothing(study):
    code = study.code
    words = [
        (code / "plugins/prune/magnitude/README.md", "Found in practice to be hard to beat.\n"),
        (code / "plugins/prune/magnitude/core.py", "# a comment\n"),
        (code / "plugins/prune/magnitude/test_magnitude.py", END),
        (code / "plugins/prune/nm/core.py", END),  # a method that no recipe uses
        (code / "prunery/quantize.py", '\n"""A docstring in a free place."""\n'),
        (code / "prunery/workflow.py", END),  # plans jobs, is in none
        (code / "Snakefile", "\n# a comment\n"),
        (code / "envs/cpu.yaml", "# a comment\n"),
    ]
    kept = {path: path.read_text() for path, _ in words}
    for path, text in words:
        path.write_text(kept[path] + text)
    study.config["finetune"]["unused"]["settings"]["epochs"] = 8
    study.config["prune"] = {"new": {"method": "magnitude"}}
    for folder in (study.results, study.folder / "logs", study.folder.parent / "pictures", code):
        for path in folder.rglob("*"):
            path.touch()
    try:
        assert study.jobs("--cores", "1") == set()
    finally:
        for path, text in kept.items():
            path.write_text(text)
        del study.config["prune"]


def test_a_moved_checkout_runs_nothing(study):
    home = study.code
    study.code = home.rename(home.with_name("moved"))
    for link in (study.code / "lib").iterdir():
        target = study.code / link.readlink().name
        link.unlink()
        link.symlink_to(target)
    assert study.jobs() == set()


def test_jobs_answer_for_every_module_they_load(study):
    """Beside what all load to find their methods: the registry, the plugins, and what those import at their tops."""
    code = "import sys, prunery.job; prunery.job.registries.registry(); print(*sys.modules)"
    always = set(subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True).stdout.split())
    told = [path.stem.split(",") for path in study.folder.glob("*,*.txt")]
    assert len(told) == 14
    for stage, method in told:
        loaded = set((study.folder / f"{stage},{method}.txt").read_text().split()) - always
        assert len(loaded) > 1, stage
        if stage == "report":
            answered = {*library_files("prunery.report")}
        else:
            used = [registry().get(stage, method), registry().get("model", "mlp"), registry().get("backend", "eager")]
            answered = {*stage_files(stage, study.code), *(file for each in used for file in method_files(each))}
        files = {Path(str(import_module(name).__file__)) for name in loaded}
        assert files <= answered, (stage, files - answered)


# --- the config ------------------------------------------------------------------------------------------------------


def test_a_setting_runs_its_variants_jobs_and_their_descendants(study):
    study.config["finetune"]["quick"]["settings"]["epochs"] = 2
    assert study.jobs() == below(TUNED)
    study.config["finetune"]["quick"]["settings"]["epochs"] = 1


def test_a_recipe_adds_its_tail(study):
    study.config["recipes"].append("net/prune=magnitude@0.5/finetune=quick/prune=random@0.7/quantize=ptq")
    tail = f"{TUNED}/prune=random@0.7"
    assert study.jobs() == {
        f"prune {tail}",
        f"evaluate {tail}/evaluate=standard.json",
        f"calibrate {tail}/calibrate=activations.safetensors",
        f"quantize {tail}/quantize=ptq",
        f"evaluate {tail}/quantize=ptq/evaluate=standard.json",
        "report report.html",
    }
    study.config["recipes"].pop()


def test_more_seeds_add_a_folder(study):
    study.config["bases"]["own"]["seeds"] = "0-4"
    more = {job.replace(OWN, "own/seeds=0-4") for job in below(OWN)}
    assert study.jobs() == more
    study.config["bases"]["own"]["seeds"] = "0-1"


# --- files -----------------------------------------------------------------------------------------------------------


def test_changed_data_runs_all_that_reads_it(study):
    pictures = study.folder.parent / "pictures"
    write_idx(pictures, seed=1)
    assert study.jobs() == below("data=mine", OWN)
    write_idx(pictures, seed=0)
    assert study.jobs() == set()


def test_a_deleted_result_comes_back_with_what_hangs_below(study):
    with without(study.results / PRUNED / "model.json"):
        assert study.jobs() == below(PRUNED)
    with without(study.results / TUNED / "evaluate=standard.json"):
        assert study.jobs() == below(f"{TUNED}/evaluate")


def test_an_altered_record_runs_what_was_made_of_it(study):
    path = study.results / TUNED / "model.json"
    with edited(path, (text := path.read_text()), text.replace('"format": ', '"format":  ')):
        assert study.jobs() == below(TUNED) - {f"finetune {TUNED}"}


def test_altered_tensors_are_named_by_the_next_job_that_reads_them(study):
    path = study.results / PRUNED / "0.safetensors"
    kept = path.read_bytes()
    path.write_bytes(kept[:-1] + b"x")
    try:
        answer = study.snakemake(f"results/edits/{PRUNED}/prune=random@0.9/model.json")
    finally:
        path.write_bytes(kept)
    text = answer.stdout + answer.stderr
    assert answer.returncode == 1
    assert text.count(f"{PRUNED}/0.safetensors is not what was written") == 2  # at once, and once more at the end
    assert f"delete results/edits/{PRUNED}/model.json and run again" in text
    assert "Traceback" not in text


# --- and then it is run ----------------------------------------------------------------------------------------------


def test_the_rerun_runs_the_edited_code_and_taking_it_back_gives_the_first_bytes(study):
    with edited(study.code / "plugins/prune/magnitude/core.py", "weight.abs()", "-weight.abs()"):
        study.run()
        assert study.jobs() == set()
        changed = {path for path, content in results(study).items() if content != study.bytes[path]}
        assert changed >= {f"{PRUNED}/0.safetensors", f"{PRUNED}/model.json", f"{INTEGERS}/evaluate=standard.json"}
        assert all(path.startswith(PRUNED) for path in changed)
    study.run()
    assert results(study) == study.bytes
