"""Documents say what is so: cards, keys, studies, links, the tree, and the example method, which is run."""

from __future__ import annotations

import inspect
import os
import re
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import yaml

from prunery.checking import check_study
from prunery.checks import CHECKS, Case
from prunery.config import Base, DataVariant, Measures, Study, read_study
from prunery.contract import BASES, Method
from prunery.registry import Registry, build_registry, registry
from prunery.toys import toy_images, toy_registered

ROOT = Path(__file__).parents[1]
SNAKEMAKE = Path(sys.executable).parent / "snakemake"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
TEXTS = {page.relative_to(ROOT).as_posix(): page.read_text("utf-8") for page in PAGES}
METHOD_PAGE = "docs/write_a_method.md"


def blocks(text: str, language: str) -> list[str]:
    """The fenced blocks of a page that are in this language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def section(text: str, heading: str) -> str:
    """What stands below a heading, up to the next one of its level or above."""
    level = heading.count("#")
    found = re.search(rf"^{re.escape(heading)}\n(.*?)(?=^#{{1,{level}}} |\Z)", text, re.MULTILINE | re.DOTALL)
    assert found, heading
    return found[1]


def rows(text: str) -> dict[str, list[str]]:
    """The rows of markdown tables by the name in backticks that their first cell holds."""
    lines = [re.split(r"(?<!\\)\|", line)[1:-1] for line in text.splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in line] for line in lines]
    return {line[0].strip("`"): line for line in cells if line[0].startswith("`")}


# --- cards -----------------------------------------------------------------------------------------------------------


def shows(cell: str, default: Any) -> bool:
    """Whether a cell of a table states a default; lists and dictionaries may be put in words."""
    if isinstance(default, bool):
        return str(default).lower() in cell.lower()
    if isinstance(default, int | float):
        numbers = re.findall(r"-?\d+(?:\.\d+)?(?:e-?\d+)?", cell.replace(",", ""))
        return any(float(number) == default for number in numbers)
    if isinstance(default, str):
        return default in cell
    return bool(cell)


@pytest.mark.parametrize("key", sorted(registry().methods), ids="/".join)
def test_a_card_states_every_setting_and_its_default(key):
    method = registry().methods[key]
    card = (Path(inspect.getfile(method)).parent / "README.md").read_text("utf-8")
    settings = section(card, "## Settings")
    head = next((line for line in settings.splitlines() if line.startswith("|")), "").strip("|").split("|")
    column = [cell.strip() for cell in head].index("default") if method.Settings.model_fields else 0
    stated = rows(settings)
    for name, field in method.Settings.model_fields.items():
        assert name in stated, f"the table of settings has no row for {name}"
        assert shows(stated[name][column], field.get_default(call_default_factory=True)), stated[name]


def test_the_check_of_defaults_can_fail():
    assert shows("0.001", 1e-3)
    assert shows("10,000", 10000)
    assert not shows("0.01", 1e-3)
    assert not shows("true", False)
    assert not shows("", ())


def test_the_readme_names_every_method_in_its_stage():
    table = rows(section(TEXTS["README.md"], "## Stages and their built-in methods"))
    assert set(table) == set(BASES)
    for stage, cells in table.items():
        assert re.findall(r"`(\w+)`", cells[-1]) == registry().names(stage)


# --- config ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", [Study, Base, Measures, DataVariant])
def test_every_key_of_the_config_is_described(model):
    page = TEXTS["docs/config.md"]
    stages = section(page, "## Variants").split("stand variants")[0]
    described = set(rows(page)) | set(re.findall(r"`(\w+)`", stages))
    assert set(model.model_fields) | {"profiles"} <= described


def test_the_page_describes_no_key_that_is_not_there():
    page = TEXTS["docs/config.md"]
    known = {"## The study": Study, "## Bases": Base, "## Measures": Measures, "## Variants": DataVariant}
    for heading, model in known.items():
        assert set(rows(section(page, heading))) <= set(model.model_fields) | {"profiles"}, heading


def test_the_example_config_uses_every_key():
    study = yaml.safe_load(blocks(TEXTS["docs/config.md"], "yaml")[0])
    assert set(study) == set(Study.model_fields) | {"profiles"}


# --- studies ---------------------------------------------------------------------------------------------------------

SNIPPETS = [
    pytest.param(yaml.safe_load(block), id=f"{name}-{number}")
    for name, text in TEXTS.items()
    for number, block in enumerate(blocks(text, "yaml"))
]
TINY = {"study": "tiny", "bases": {"net": {"data": "digits", "model": "mlp", "train": "supervised"}}, "recipes": []}


@pytest.fixture(scope="module")
def example(tmp_path_factory) -> Path:
    """A folder with the example plugin of the documents: `my_methods/relative`, with its card and its test."""
    folder = tmp_path_factory.mktemp("example")
    own = folder / "my_methods" / "relative"
    own.mkdir(parents=True)
    plugin, test, *_ = blocks(TEXTS[METHOD_PAGE], "python")
    (own / "__init__.py").write_text(plugin)
    (own / "test_relative.py").write_text(test)
    (own / "README.md").write_text(blocks(TEXTS[METHOD_PAGE], "markdown")[0])
    return folder


@pytest.fixture(scope="module")
def methods(example) -> Registry:
    """The registry with the example in it."""
    return build_registry((str(example / "my_methods"),))


def test_there_are_snippets():
    assert len(SNIPPETS) >= 10


@pytest.mark.parametrize("snippet", SNIPPETS)
def test_studies_and_parts_of_them_are_valid(snippet, methods):
    """A block with the key `study` is a whole one; others are laid over a tiny study."""
    whole = snippet if "study" in snippet else {**TINY, **snippet}
    for profile in snippet.get("profiles", {"cpu": {}}):
        study = read_study({**whole, "profile": profile})
        recipes = check_study(study, methods)
        assert bool(recipes) == bool(whole["recipes"])


@pytest.mark.data
@pytest.mark.skipif("PRUNERY_DATA" not in os.environ, reason="set PRUNERY_DATA to a folder with the published files")
@pytest.mark.parametrize("name", ["mnist", "fashion", "cifar10", "agnews", "imdb"])
def test_the_data_variants_of_the_page_on_real_data_find_their_files(name):
    parts = [yaml.safe_load(block) for block in blocks(TEXTS["docs/real_data.md"], "yaml")]
    (variant,) = [part["data"][name] for part in parts if name in part.get("data", {})]
    source: Any = registry().configured("data", variant["method"], variant["settings"])
    files = source.files(Path(os.environ["PRUNERY_DATA"]))
    assert len(files) >= 2
    assert all(file.is_file() for file in files)


def test_the_study_of_the_readme_has_ten_lines_and_is_the_one_of_the_quickstart():
    study = blocks(TEXTS["README.md"], "yaml")[0]
    assert len(study.splitlines()) == 10
    assert blocks(TEXTS["docs/quickstart.md"], "yaml") == [study]


# --- the example method ----------------------------------------------------------------------------------------------


def test_the_readme_shows_the_example_method_in_about_thirty_lines():
    (plugin,) = blocks(TEXTS["README.md"], "python")
    assert plugin == blocks(TEXTS[METHOD_PAGE], "python")[0]
    assert len([line for line in plugin.splitlines() if line.strip()]) <= 30


def test_the_example_passes_its_own_test_and_the_contract(example):
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "my_methods"]
    answer = subprocess.run(command, cwd=example, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stdout + answer.stderr
    passed = re.search(r"(\d+) passed", answer.stdout)
    assert passed
    assert int(passed[1]) > 10
    assert "skipped" not in answer.stdout


@pytest.mark.slow
def test_the_example_runs_in_the_workflow_as_the_readme_says(example):
    study = yaml.safe_load(blocks(TEXTS["README.md"], "yaml")[1])
    study["bases"]["net"]["seeds"] = "0-1"
    (example / "my.yaml").write_text(yaml.safe_dump(study))
    command = [SNAKEMAKE, "--snakefile", ROOT / "Snakefile", "--directory", example, "--cores", "2"]
    command += ["--workflow-profile", ROOT / "profiles/default", "--configfile", example / "my.yaml"]
    answer = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False, cwd=ROOT)
    assert answer.returncode == 0, answer.stdout + answer.stderr
    table = (example / "results/relative/table.csv").read_text()
    assert "prune=relative@0.7/finetune=supervised" in table


# --- what each stage asks for ----------------------------------------------------------------------------------------


LEARNING = {"epochs": 12, "learning_rate": 0.01, "batch_size": 32}
SETTINGS = {"train": LEARNING, "finetune": LEARNING, "distill": LEARNING}


@pytest.mark.parametrize("stage", list(BASES))
def test_the_skeleton_of_each_stage_passes_the_checks_of_its_stage(stage, tmp_path):
    (code,) = blocks(section(TEXTS[METHOD_PAGE], f"### {stage}"), "python")
    names: dict[str, Any] = {"__name__": "skeleton"}
    exec(code, names)
    classes = [value for value in names.values() if inspect.isclass(value) and value.__module__ == "skeleton"]
    (made,) = [value for value in classes if issubclass(value, Method)]
    assert made.stage == stage
    assert issubclass(made, BASES[stage])
    assert not inspect.isabstract(made)
    case = Case(lambda: made(made.Settings(**SETTINGS.get(stage, {}))), toy_images().spec, None, tmp_path)
    with toy_registered():
        for check in CHECKS.get(stage, []):
            with suppress(pytest.skip.Exception):  # a check that does not apply, such as int8 for an fp32 backend
                check(case)


# --- links and names -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", TEXTS)
def test_relative_links_lead_somewhere(name):
    for target in re.findall(r"\]\(([^)#\s]+)", TEXTS[name]):
        if not re.match(r"https?:", target):
            assert ((ROOT / name).parent / target).exists(), target


def test_the_tree_of_the_readme_is_the_repository():
    tree = blocks(section(TEXTS["README.md"], "## The repository"), "")[0]
    named = {line.split()[0] for line in tree.splitlines()}
    assert not {name for name in named if not (ROOT / name).exists()}
    folders = {f"{path.name}/" for path in ROOT.iterdir() if _shown(path)}
    assert folders <= named


def _shown(path: Path) -> bool:
    """A folder that is part of the repository: not hidden, not made by a run or a build."""
    made = {"results", "logs", "build", "dist", "__pycache__"}
    return path.is_dir() and path.name not in made and not path.name.startswith(".") and path.suffix != ".egg-info"


@pytest.mark.parametrize("name", TEXTS)
def test_paths_in_backticks_exist(name):
    """Such as `scripts/train.py` or `plugins/data/`; patterns and what a run makes are left out."""
    folders = ("docs", "plugins", "prunery", "rules", "scripts", "profiles", "studies", "tests", "benchmarks")
    for path in re.findall(rf"`((?:{'|'.join(folders)})/[\w./]+)`", TEXTS[name]):
        assert (ROOT / path).exists(), path
