"""The command `prunery`: what it prints of methods, configs, tensors and differences, and how it tells mistakes."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
import torch
import yaml

from prunery.checkpoint import save
from prunery.cli import COMMANDS, main
from prunery.commands.changes import changes
from prunery.commands.configfile import read_config
from prunery.commands.describe import range_text, type_text
from prunery.commands.planning import planned
from prunery.commands.text import WIDTH, table
from prunery.files import save_json, sha256
from prunery.layers import layer_of
from prunery.registry import registry
from prunery.toys import toy_checkpoint
from prunery.workflow import Workflow

ROOT = Path(__file__).parents[1]
COMMAND = Path(sys.executable).parent / "prunery"
TINY = {
    "study": "tiny",
    "bases": {"net": {"data": "digits", "model": "mlp", "train": "supervised", "seeds": "0-1"}},
    "recipes": ["net/prune={magnitude,seb}@0.5/finetune=supervised", "net/distill=kd/quantize=ptq"],
    "measures": {"bench": {"latency": ["net/quantize=ptq"]}, "calibrate": ["gradients"]},
}
PLUGIN = """
from prunery import LayerPruner, hookimpl


class Rows(LayerPruner):
    \"\"\"Keep what is not zero.\"\"\"

    name = "rows"

    def mask(self, key, weight, measured, generator):
        return weight != 0


@hookimpl
def register_methods():
    return [Rows]
"""


@pytest.fixture
def said(capsys):
    """A function that runs a subcommand and answers what it printed."""

    def run(*arguments: object) -> str:
        assert main(map(str, arguments)) == 0
        return capsys.readouterr().out

    return run


@pytest.fixture
def complaint(capsys):
    """A function that runs a subcommand that fails and answers its one line."""

    def run(*arguments: object) -> str:
        assert main(map(str, arguments)) == 1
        printed = capsys.readouterr()
        assert printed.out == ""
        assert printed.err.count("\n") == 1
        assert printed.err.startswith("prunery: ")
        return printed.err.removeprefix("prunery: ").strip()

    return run


def config(folder: Path, **keys: object) -> Path:
    path = folder / "my.yaml"
    path.write_text(yaml.safe_dump(TINY | keys), encoding="utf-8")
    return path


def plugin(folder: Path, code: str = PLUGIN) -> Path:
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text(code, encoding="utf-8")
    return folder


def narrow(text: str) -> bool:
    return all(len(line) <= WIDTH for line in text.splitlines())


# --- the command itself ----------------------------------------------------------------------------------------------


def test_the_installed_command_answers_without_torch():
    """Also: `prunery ... | head` ends quietly."""
    answer = subprocess.run([COMMAND, "methods", "prune"], capture_output=True, text=True, check=True)
    assert answer.stdout.startswith("prune\n")
    heavy = "[name for name in ('torch', 'numpy', 'snakemake', 'pandas') if name in sys.modules]"
    code = f"import json, sys, prunery.cli\nprint(json.dumps({heavy}))"
    assert json.loads(subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout) == []
    piped = f"'{COMMAND}' methods | head -n 1"
    answer = subprocess.run(["bash", "-o", "pipefail", "-c", piped], capture_output=True, text=True, check=False)
    assert (answer.returncode, answer.stdout, answer.stderr) == (0, "data\n", "")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "the following arguments are required: COMMAND: see prunery --help"),
        (["methds"], "unknown command 'methds': did you mean 'methods'?"),
        (["check", "--profile"], "expected one argument: see prunery check --help"),
        (["trace", "only-a-folder"], "the following arguments are required: key: see prunery trace --help"),
        (["trace", "f", "k", "--seed", "x"], "invalid int value: 'x': see prunery trace --help"),
    ],
)
def test_mistakes_on_the_command_line_are_one_line(complaint, arguments, says):
    assert says in complaint(*arguments)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_subcommand_has_help(name, capsys):
    with pytest.raises(SystemExit) as ended:
        main([name, "--help"])
    assert ended.value.code == 0
    assert (COMMANDS[name].__doc__ or "").splitlines()[0] in capsys.readouterr().out


# --- methods ---------------------------------------------------------------------------------------------------------


def test_all_methods_are_listed_in_their_stages(said):
    text = said("methods")
    assert narrow(text)
    listed = {
        (part.splitlines()[0], line.split()[0])
        for part in text.split("\n\n")
        for line in part.splitlines()[1:]
        if line[2:3].strip()
    }
    assert listed == set(registry().methods)
    assert "  magnitude        prunery 0.1.0  Keep the weights of largest absolute value.\n" in text


def test_a_method_is_described(said):
    text = said("methods", "magnitude")
    assert narrow(text)
    assert text.startswith("prune=magnitude, of prunery 0.1.0\n\nZeroes the weights of smallest absolute value: ")
    rows = [line.split() for line in text.splitlines()]
    assert ["setting", "type", "default", "range", "what", "it", "is"] in rows
    assert any(row[:6] == ["sparsity", "number", "0.5", "0", "to", "1"] for row in rows)
    assert ["amount", "prune=magnitude@...", "sets", "sparsity"] in rows
    assert ["conflicts", "not", "after", "quantize"] in rows
    assert ["changes", "zeros"] in rows
    assert str(Path("plugins/prune/magnitude/__init__.py")) in text
    assert ["needs", "calibrate=activations"] in [line.split() for line in said("methods", "quantize=ptq").splitlines()]


def test_names_of_several_stages_are_all_described(said):
    text = said("methods", "supervised")
    assert "train=supervised, of" in text
    assert "finetune=supervised, of" in text
    assert "train=supervised" not in said("methods", "finetune=supervised")


@pytest.mark.parametrize("key", sorted(registry().methods), ids="/".join)
def test_every_method_can_be_described(said, key):
    text = said("methods", "=".join(key))
    settings = registry().methods[key].Settings.model_fields
    assert all(f"\n{name[:20]}" in text for name in settings)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("magnitud", "unknown method 'magnitud': did you mean 'magnitude'?"),
        ("prune=magnitud", "unknown prune method 'magnitud': did you mean 'magnitude'?"),
        ("prun=magnitude", "unknown stage 'prun': did you mean 'prune'?"),
    ],
)
def test_unknown_names_offer_the_nearest(complaint, name, says):
    assert complaint("methods", name) == says


def test_plugins_of_folders_are_listed_and_broken_ones_last(said, complaint, tmp_path):
    mine = plugin(tmp_path / "mine" / "rows").parent
    plugin(mine / "ruined", PLUGIN.replace('"rows"', '"ruined"') + "\nimport no_such_module_anywhere")
    text = said("methods", "--plugins", mine)
    assert "  rows             folder mine    Keep what is not zero.\n" in text
    assert text.rpartition("\n\n")[2].startswith("set aside, since they cannot be used\n")
    assert "no_such_module_anywhere" in text.rpartition("\n\n")[2]
    assert "prune=rows, of folder" in said("methods", "rows", "--plugins", mine)
    assert "set aside: import failed" in complaint("methods", "ruined", "--plugins", mine)
    assert "there is no folder" in complaint("methods", "--plugins", tmp_path / "nowhere")


def test_types_and_ranges_are_told_in_words():
    fields = registry().get("calibrate", "activations").Settings.model_fields
    assert (type_text(fields["quantiles"].annotation), range_text(fields["quantiles"])) == (
        "list of numbers",
        "each 0 to 1",
    )
    assert range_text(fields["bins"]) == "64 to 65536, multiple of 2"
    assert type_text(dict[str, float] | None) == "mapping to number or null"


def test_cells_wrap_at_the_edge_of_the_page():
    text = table([["a", "word " * 40], ["x" * 40, "end"]])
    lines = text.splitlines()
    assert lines[0].startswith(f"a{' ' * 27}word word")
    assert len(lines[0]) <= WIDTH
    assert lines[-1].startswith("x" * 40)


# --- check -----------------------------------------------------------------------------------------------------------


def test_a_valid_config_is_summed_up(said, tmp_path):
    mine = plugin(tmp_path / "mine" / "rows").parent
    extra = {"other": TINY["bases"]["net"]}
    text = said("check", config(tmp_path, plugins=[str(mine)], bases=TINY["bases"] | extra))
    rows = [" ".join(line.split()) for line in text.splitlines()]
    assert rows[0] == f"{tmp_path / 'my.yaml'} is valid: study tiny, profile cpu"
    assert "results results/tiny" in rows
    assert "bases net" in rows
    assert "recipes 3 listed; with the networks on the way 8 folders of 16 networks" in rows
    assert f"plugins {mine}" in rows
    assert "unused bases other" in rows


def test_a_base_that_only_teaches_is_used(said, tmp_path):
    teaching = {"bases": TINY["bases"] | {"wise": TINY["bases"]["net"]}, "recipes": ["net/distill={taught,alone}"]}
    variants = {"taught": {"method": "kd"}, "alone": {"method": "independent", "settings": {"teacher": "wise"}}}
    for teacher in ("wise", "dense"):
        variants["taught"]["settings"] = {"teacher": teacher}
        text = said("check", config(tmp_path, **teaching, distill=variants, measures={}))
        rows = [" ".join(line.split()) for line in text.splitlines()]
        assert "bases net, wise" in rows
        assert not any(row.startswith("unused") for row in rows)


@pytest.mark.parametrize("name", ["default", "tiny"])
def test_the_jobs_are_those_that_snakemake_counts(name, make_study, tmp_path):
    keys = read_config(ROOT / "config.yaml") | {"claims": []} if name == "default" else TINY
    wanted = Counter(job.split()[0] for job in make_study(tmp_path, keys).jobs())
    study = Workflow(keys, ROOT / "scripts")
    assert Counter(rule for rule, _ in planned(study)) + Counter({"report": 1}) == wanted
    assert sum(wanted.values()) > 20


def test_files_that_a_config_reads_are_listed(said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = [f"{split}-{kind}-ubyte" for split in ("train", "t10k") for kind in ("images-idx3", "labels-idx1")]
    (tmp_path / "mnist").mkdir()
    for name in names:
        (tmp_path / "mnist" / name).touch()
    bases = {"net": TINY["bases"]["net"] | {"data": "idx"}}
    text = said("check", config(tmp_path, data_folder=str(tmp_path), bases=bases))
    assert f"data idx: 4 files below {tmp_path / 'mnist'}" in " ".join(text.split())


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("study: x\nbases: {}\nstudy: y\n", "line 3: the key 'study' is there twice: it stands in line 1 already"),
        ("bases:\n  a: {data: x, data: y}\n", "line 2: the key 'data' is there twice: it stands in line 2 already"),
        ("study: x\nbases: [1\nrecipes: 2\n", "line 3, column 8: this is no YAML: expected ',' or ']', but got ':'"),
        ("study: x\n\tbases: {}\n", "line 2, column 1: this is no YAML: found character '\\t' that cannot start"),
        ("- one\n", "holds a list: write lines of 'key: value', see docs/config.md"),
        ("", "holds nothing: write lines"),
        ("study: \x00", "is not readable YAML"),
        ("study: !!python/object:os.system {}\n", "line 1, column 8: this is no YAML: could not determine"),
        ("study: x\nrecipes: []\n", "config: the key bases is missing"),
        (yaml.safe_dump(TINY | {"recipes": ["net/prune=sebb"]}), "unknown prune variant 'sebb': did you mean 'seb'?"),
    ],
)
def test_a_bad_config_is_one_line_with_its_place(complaint, tmp_path, text, says):
    path = tmp_path / "bad.yaml"
    path.write_text(text, encoding="utf-8")
    assert says in complaint("check", path)


def test_keys_of_different_mappings_may_be_alike_and_merges_are_allowed(tmp_path):
    path = tmp_path / "anchors.yaml"
    path.write_text("a: &a {x: 1, y: 2}\nb: {<<: *a, x: 3}\n")
    assert read_config(path) == {"a": {"x": 1, "y": 2}, "b": {"x": 3, "y": 2}}


def test_config_and_profile_must_exist(complaint, tmp_path):
    for spelled in (["nowhere.yaml"], ["--configfile", "nowhere.yaml"]):
        assert "there is no file 'nowhere.yaml': name one that exists" in complaint("check", *spelled)
    assert complaint("check", config(tmp_path), "--profile", "smok") == "unknown profile 'smok': did you mean 'smoke'?"


# --- trace and diff --------------------------------------------------------------------------------------------------


def made(stage: str, variant: str, **other: object) -> dict:
    plain = {"stage": stage, "variant": variant, "method": "toy", "distribution": "prunery", "version": "9"}
    return plain | {"versions": {}, "settings": {}, "fingerprint": "f" * 64} | other


@pytest.fixture
def recipes(tmp_path) -> Path:
    """A trained network and two pruned ones below it, evaluated; the second has two tensors that are other ones."""
    dense = tmp_path / "net" / "seeds=0-1"
    parent = toy_checkpoint()
    parent.provenance = made("train", "quick")
    save(parent, dense)
    parent.hash = sha256(dense / "model.json")
    for name, sparsity, accuracy in (("third", 0.3, 0.75), ("half", 0.5, 0.5)):
        child = toy_checkpoint(masked=True)
        if name == "half":
            for seed in (0, 1):
                torch.nn.init.ones_(layer_of(child.replicas[seed].network, "5.weight").weight)
        provenance = made("prune", name, settings={"sparsity": sparsity, "scope": "layer"})
        save(parent.child(child.replicas, provenance), dense / f"prune={name}")
        figures = {"validation": {"accuracy": accuracy}, "test": {"accuracy": accuracy}, "bits": 8 * 1024}
        save_json({"replicas": {"0": figures, "1": figures}}, dense / f"prune={name}" / "evaluate=standard.json")
    return dense


def test_two_recipes_are_set_side_by_side(said, recipes):
    text = said("diff", recipes / "prune=third", recipes / "prune=half" / "model.json")
    rows = [" ".join(line.split()) for line in text.splitlines()]
    assert rows[:2] == [f"A {recipes / 'prune=third'}", f"B {recipes / 'prune=half'}"]
    start, end = rows.index("how they were made A B"), rows.index("evaluate=standard A B")
    assert rows[start + 1 : end - 1] == ["prune: variant third half", "prune: setting sparsity 0.3 0.5"]
    assert "test accuracy 75.0 % [75.0, 75.0], 2 seeds 50.0 % [50.0, 50.0], 2 seeds" in rows
    assert "B - A, seed by seed -25.0 points [-25.0, -25.0]" in rows
    assert "size 1.0 KiB 1.0 KiB" in rows
    tensors = rows[rows.index("tensors A B") + 1 :]
    total = len(json.loads((recipes / "prune=half" / "model.json").read_text())["replicas"]["0"]["tensors"])
    assert tensors[0] == f"1 of {total} differ"
    assert tensors[1].startswith("5.weight, seed 0 float32 ")
    assert tensors[1].endswith(" 0.0% zeros")


def test_a_step_of_one_recipe_only_is_named(said, recipes):
    rows = [" ".join(line.split()) for line in said("diff", recipes, recipes / "prune=third").splitlines()]
    assert "prune=third - method toy" in rows
    assert any(row.startswith("5.weight/mask, seed 0 - bool ") for row in rows)


def test_a_network_does_not_differ_from_itself(said, recipes):
    text = said("diff", recipes, recipes)
    assert "how they were made  no difference" in text
    assert text.endswith("tensors  no difference\n")


def test_diff_names_what_it_cannot_read(complaint, recipes, tmp_path):
    assert "holds no model.json: give the folder of a recipe that has run" in complaint("diff", recipes, tmp_path)


# --- what changed ----------------------------------------------------------------------------------------------------


def told(**other: object) -> dict:
    model = made("model", "mlp", method="mlp", settings={"widths": [8]})
    backend = made("backend", "eager", method="eager", version="1")
    return made("train", "quick", seeds="0-1", code="c" * 64, model=model, backends=[backend]) | other


@pytest.mark.parametrize(
    ("other", "says"),
    [
        ({}, []),
        ({"settings": {"epochs": 3}}, ["the setting epochs was none, is 3"]),
        ({"settings": {"a": {"b": 1}}}, ["the setting a.b was none, is 1"]),
        ({"version": "10"}, ["the version of prunery was 9, is 10"]),
        ({"versions": {"torch": "3"}}, ["the version of torch was none, is 3"]),
        ({"seeds": "0-4"}, ["the seeds was 0-1, is 0-4"]),
        ({"fingerprint": "0" * 64}, ["the code of the method toy has changed (its files, or what they import)"]),
        ({"code": "0" * 64}, ["the code of the stage train has changed (its script, or the library behind it)"]),
        ({"method": "other", "settings": {"x": 1}, "fingerprint": "0"}, ["the method was toy, is other"]),
        (
            {"model": made("model", "mlp", method="mlp", settings={"widths": [9]}, fingerprint="0")},
            [
                "the setting widths of the model mlp was [8], is [9]",
                "the code of the model mlp has changed (its files, or what they import)",
            ],
        ),
        (
            {"backends": [made("backend", "eager", method="eager", version="2")]},
            ["the version of prunery of the backend eager was 1, is 2"],
        ),
    ],
)
def test_what_changed_is_told_apart(other, says):
    assert [str(change) for change in changes(told(), told(**other))] == says


# --- the page --------------------------------------------------------------------------------------------------------


def shown() -> list[tuple[str, str]]:
    """The commands of docs/command.md and what the page says they print."""
    page = (ROOT / "docs" / "command.md").read_text("utf-8")
    return re.findall(r"^```\n\$ prunery ([^\n]*)\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)


def test_the_page_has_every_subcommand():
    assert {command.split()[0] for command, _ in shown()} == set(COMMANDS)


@pytest.mark.parametrize(("command", "printed"), shown()[:3] + shown()[-1:])
def test_the_page_shows_what_is_printed(command, printed, said, tmp_path, monkeypatch):
    """Of the commands that need no run."""
    monkeypatch.chdir(ROOT if command.startswith("methods") else tmp_path)
    quickstart = (ROOT / "docs" / "quickstart.md").read_text("utf-8")
    if command.startswith("check"):
        (tmp_path / "my.yaml").write_text(re.findall(r"^```yaml\n(.*?)^```$", quickstart, re.MULTILINE | re.DOTALL)[0])
    assert said(*command.split()).replace(sys.executable, ".venv/bin/python") == printed
