"""Random corruptions of the default config: each is told in one line, or is a config that is truly valid.

`python tests/test_corruptions.py FIRST COUNT` tries other seeds and prints what came of each.
"""

from __future__ import annotations

import copy
import random
import re
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from snakemake.common.configfile import load_configfile

from prunery.checking import check_recipe
from prunery.errors import PruneryError
from prunery.registry import build_registry
from prunery.workflow import Workflow
from prunery.yamlfile import read_mapping

ROOT = Path(__file__).parents[1]
SNAKEMAKE = Path(sys.executable).parent / "snakemake"
TEXT = (ROOT / "config.yaml").read_text("utf-8")
SEEDS = range(200)
RUN = range(200, 210)
"""Seeds of the corruptions that real Snakemake runs are given."""

Place = tuple[Any, Any]  # a container and a key or an index of it
VALUES: list[Any] = [
    None, True, False, 0, -1, -0.5, 0.5, 1.5, 3.5, 10**30, -(10**30), float("nan"), float("inf"), float("-inf"), "",
    " ", "yes", "0-4", "5-1", "1e400", "-", "..", "../..", "/", "~", "~nobody-here/x", "\0", "\ud7ff", "{a,b}", "a@b",
    "ß😀\u202e", "x" * 5000, [], {}, [[]], [None], {"": ""}, {"a": {"b": {}}}, [1, 2, 3], ["magnitude"], {1: 2},
]  # fmt: skip
PIECES = [
    "{", "}", "(", ")", "*", "*99999999999", "@", "@-1", "@1.5", "@0..1:0.0000001", "@.", "=", "//", "/", "..", ",",
    ":", " ", "prune=", "evaluate=standard", "seeds=", "/seeds=9-1", "\n", "%", "$HOME", "`id`", "é", "\u2028", "'",
    '"', "{a,b,c,d,e,f,g,h,i,j}" * 9, "(finetune=short)*30", "/quantize=int8", "\x1b[31m",
]  # fmt: skip
GARBAGE = [
    "\t", "\0", "\x07", "\ufeff", "💥", "&a ", "*a ", "!!python/object:os.system ", "!!float ", "<<: ", "? ", "- ",
    ": ", "|", ">", "%YAML 9.9\n", "---\n", "...\n", "2024-99-99", "{", "[", "}", "]", '"', "'", "\\", "#", "\x85",
]  # fmt: skip


# --- corruptions of the tree -----------------------------------------------------------------------------------------


def places(value: Any) -> Iterator[Place]:
    """Every place in a tree of mappings and lists."""
    keys = list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    for key in keys:
        yield value, key
        yield from places(value[key])


def a_place(rng: random.Random, tree: Any, kind: type | tuple[type, ...] = object) -> Place:
    """A random place that holds a value of some kind, all depths being as likely."""
    found = [(owner, key) for owner, key in places(tree) if isinstance(owner[key], kind)]
    return rng.choice(found)


def mangled(rng: random.Random, text: str) -> str:
    """A text with a letter gone, doubled, swapped or replaced."""
    at = rng.randrange(len(text) + 1)
    return rng.choice([text[:at] + text[at + 1 :], text[:at] + text[at : at + 1] * 2 + text[at + 1 :],
                       text[:at] + text[at + 1 : at + 2] + text[at : at + 1] + text[at + 2 :],
                       text[:at] + rng.choice("aZ0_-.@=/ é") + text[at + 1 :]])  # fmt: skip


def delete_key(rng: random.Random, tree: Any) -> None:
    owner, key = a_place(rng, tree)
    del owner[key]


def rename_key(rng: random.Random, tree: Any) -> None:
    found = [(owner, key) for owner, key in places(tree) if isinstance(owner, dict)]
    owner, key = rng.choice(found)
    owner[mangled(rng, str(key))] = owner.pop(key)


def move_key(rng: random.Random, tree: Any) -> None:
    owner, key = a_place(rng, tree)
    target, name = a_place(rng, tree)
    target[name] = copy.deepcopy(owner[key])


def swap_type(rng: random.Random, tree: Any) -> None:
    owner, key = a_place(rng, tree)
    value = owner[key]
    owner[key] = rng.choice([[value], {"a": value}, str(value), None, True, len(str(value))])


def change_value(rng: random.Random, tree: Any) -> None:
    owner, key = a_place(rng, tree)
    owner[key] = rng.choice(VALUES)


def change_number(rng: random.Random, tree: Any) -> None:
    owner, key = a_place(rng, tree, (int, float))
    owner[key] = rng.choice([-owner[key], 0, 0.5, 10**12, 1e-300, float("nan"), float("inf"), str(owner[key])])


def change_text(rng: random.Random, tree: Any) -> None:
    owner, key = a_place(rng, tree, str)
    owner[key] = mangled(rng, owner[key])


def insert_piece(rng: random.Random, tree: Any) -> None:
    owner, key = a_place(rng, tree, str)
    at = rng.randrange(len(owner[key]) + 1)
    owner[key] = owner[key][:at] + rng.choice(PIECES) + owner[key][at:]


def mangle_recipe(rng: random.Random, tree: Any) -> None:
    recipes = tree.get("recipes")
    if not isinstance(recipes, list) or not recipes:
        return
    number = rng.randrange(len(recipes))
    parts = str(recipes[number]).split("/")
    rng.shuffle(parts) if rng.random() < 0.3 else parts.insert(rng.randrange(len(parts) + 1), rng.choice(PIECES))
    recipes[number] = "/".join(parts)


def add_key(rng: random.Random, tree: Any) -> None:
    owner, key = a_place(rng, tree, dict)
    names = ["plugins", "claims", "threads", "floors", "profile", "settings", "method", "teacher", "seeds", "data", "é"]
    owner[key][rng.choice(names)] = rng.choice(VALUES)


def add_to_study(rng: random.Random, tree: Any) -> None:
    names = ["plugins", "claims", "data_folder", "threads", "floors", "profile", "study", "title", "distill", "prune"]
    value = rng.choice(VALUES)
    tree[rng.choice(names)] = rng.choice([value, [value], {"train": value}])


TREE: list[Callable[[random.Random, Any], None]] = [
    delete_key, rename_key, move_key, swap_type, change_value, change_number, change_text, insert_piece, mangle_recipe,
    add_key, add_to_study,
]  # fmt: skip


# --- corruptions of the text -----------------------------------------------------------------------------------------


def truncate(rng: random.Random, text: bytes) -> bytes:
    return text[: rng.randrange(len(text))]


def random_bytes(rng: random.Random, text: bytes) -> bytes:
    at = rng.randrange(len(text))
    return text[:at] + rng.randbytes(rng.randrange(1, 6)) + text[at + rng.randrange(6) :]


def insert_garbage(rng: random.Random, text: bytes) -> bytes:
    at = rng.randrange(len(text))
    return text[:at] + rng.choice(GARBAGE).encode() + text[at:]


def double_line(rng: random.Random, text: bytes) -> bytes:
    lines = text.splitlines(keepends=True)
    at = rng.randrange(len(lines))
    return b"".join([*lines[: at + 1], *lines[at:]])


def delete_line(rng: random.Random, text: bytes) -> bytes:
    lines = text.splitlines(keepends=True)
    del lines[rng.randrange(len(lines))]
    return b"".join(lines)


def indent_line(rng: random.Random, text: bytes) -> bytes:
    lines = text.splitlines(keepends=True)
    at = rng.randrange(len(lines))
    lines[at] = rng.choice([b"\t", b" ", b"  ", b"      "]) + lines[at]
    return b"".join(lines)


WRITTEN: list[Callable[[random.Random, bytes], bytes]] = [
    truncate, random_bytes, insert_garbage, double_line, delete_line, indent_line,
]  # fmt: skip


def corrupted(seed: int) -> bytes:
    """The default config with one to three corruptions; the same for the same seed."""
    rng = random.Random(seed)
    if rng.random() < 0.35:
        text = TEXT.encode()
        for _ in range(rng.choice([1, 1, 2])):
            text = rng.choice(WRITTEN)(rng, text)
        return text
    tree = yaml.safe_load(TEXT)
    for _ in range(rng.choice([1, 1, 2, 3])):
        rng.choice(TREE)(rng, tree)
    return yaml.safe_dump(tree, sort_keys=False, allow_unicode=rng.random() < 0.5).encode()


# --- what comes of them ----------------------------------------------------------------------------------------------


def outcome(text: bytes, folder: Path) -> str:
    """The line that a config gives, or nothing if it is valid. What the Snakefile does, without Snakemake's run."""
    path = folder / "config.yaml"
    path.write_bytes(text)
    try:
        read_mapping(path)
        config = load_configfile(path)
        _check_valid(Workflow(config, ROOT / "scripts", None if config.get("plugins") else build_registry()))
    except PruneryError as error:
        return str(error)
    return ""


def _check_valid(study: Workflow) -> None:
    """What must hold of a config that is let pass; failures of this are no `PruneryError`."""
    for pattern in study.constraints.values():
        re.compile(pattern)
    for path in study.wanted:
        assert path.startswith(study.root)
        folder = path.removeprefix(f"{study.root}/").rpartition("/")[0]
        recipe = study.recipe(folder)
        assert str(recipe) == folder
        assert re.fullmatch(study.constraints["folder"], folder)
        check_recipe(study.study, study.registry, recipe)
    for base in study.study.bases.values():
        study.study.method(study.registry, "train", base.train)
    study.report_job()
    assert len(study.imports) >= 0


def assert_is_a_line(said: str) -> None:
    assert "\n" not in said
    assert "Traceback" not in said
    assert len(said) < 1000


@pytest.mark.parametrize("start", range(SEEDS.start, SEEDS.stop, 20))
def test_a_corrupted_config_is_told_in_one_line_or_is_valid(start, tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    for seed in range(start, start + 20):
        try:
            said = outcome(corrupted(seed), tmp_path)
        except Exception as error:
            raise AssertionError(f"corruption {seed} ended in {type(error).__name__}: {error}") from error
        assert_is_a_line(said)


@pytest.mark.slow
@pytest.mark.parametrize("seed", RUN)
def test_snakemake_says_so_in_one_line_or_runs(seed, tmp_path):
    (tmp_path / "config.yaml").write_bytes(corrupted(seed))
    (tmp_path / "studies").symlink_to(ROOT / "studies")
    command = [str(SNAKEMAKE), "--snakefile", str(ROOT / "Snakefile"), "--directory", str(tmp_path), "--dry-run"]
    command += ["--profile", "none", "--workflow-profile", str(ROOT / "profiles" / "default")]
    answer = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    everything = answer.stdout + answer.stderr
    ours = [line for line in everything.splitlines() if line.startswith("prunery: ")]
    assert "Traceback" not in everything
    assert (answer.returncode, len(ours)) in ((0, 0), (1, 1)), everything


def main(first: int, count: int) -> None:
    """Print the outcome of each seed: by hand, for more of them than a test has time for."""
    counts: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(first, first + count):
            try:
                said = outcome(corrupted(seed), Path(folder))
                kind = "refused" if said else "valid"
                assert_is_a_line(said)
            except Exception as error:
                kind, said = "BROKEN", f"{type(error).__name__}: {error}"
            counts[kind] += 1
            print(seed, kind, said)
    print(dict(counts))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
