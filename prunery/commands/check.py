"""Check a config as a run would, before any job, and say what it asks for.

Exit code 0 if it is valid; else 1, and one line with the place of the first mistake.
"""

from __future__ import annotations

import argparse
from collections import Counter
from os.path import commonpath
from pathlib import Path

from prunery.commands.configfile import read_config
from prunery.commands.planning import Job, planned, read_files
from prunery.commands.text import table
from prunery.contract import BASES
from prunery.recipe import Recipe
from prunery.workflow import Workflow

SCRIPTS = Path("scripts")
"""Where a run's scripts lie; they are not needed to check a config."""
SHOWN = 3
"""Files that are listed one by one; of more, their folder is told."""

NAMED = 20
"""Bases that are listed by name."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    parser.add_argument("config", nargs="?", type=Path, default=Path("config.yaml"), help="config.yaml if not given")
    parser.add_argument("--configfile", type=Path, help="the same, as Snakemake has it")
    parser.add_argument("--profile", help="smoke, cpu or paper; the config's own if not given")


def run(options: argparse.Namespace) -> int:
    """Print the summary of a valid config."""
    config = options.configfile or options.config
    study = Workflow(read_config(config, options.profile), SCRIPTS)
    print(f"{config} is valid: study {study.study.study}, profile {study.study.profile}\n")
    print(table(_summary(study), "  "))
    return 0


def _summary(study: Workflow) -> list[list[str]]:
    jobs = planned(study)
    counts = Counter(rule for rule, _ in jobs)
    kinds = [f"{counts[stage]} {stage}" for stage in BASES if counts[stage]]
    listed = study.study.all_recipes()
    begun = {recipe.base for recipe in study.recipes} | _teachers(study, jobs)
    used = [name for name in study.study.bases if name in begun]
    rows = [
        ["results", study.root],
        ["bases", _few(used)],
        ["recipes", f"{len(listed)} listed; with the networks on the way {_networks(study.recipes)}"],
        ["jobs", f"{len(jobs) + 1}: {', '.join(kinds)}, 1 report"],
    ]
    rows += [["reads", f"{reader}: {_shown(files)}"] for reader, files in read_files(study, jobs).items()]
    rows += [["plugins", folder] for folder in study.study.plugins]
    rows += [["set aside", f"{plugin}: {why}"] for plugin, why in sorted(study.registry.broken.items())]
    unused = sorted(set(study.study.bases) - begun - set(study.absent))
    if study.absent:
        rows.append(["left out", f"bases {_few(list(study.absent))}: {next(iter(study.absent.values()))}"])
    return rows + ([["unused", f"bases {_few(unused)}"]] if unused else [])


def _teachers(study: Workflow, jobs: list[Job]) -> set[str]:
    """The bases that students learn from, or are compared with."""
    networks = [file for rule, wildcards in jobs if rule == "distill" for file in study.teacher(wildcards)]
    networks += [file for rule, wildcards in jobs if rule == "evaluate" for file in study.compared(wildcards)]
    return {Path(file).relative_to(study.root).parts[0] for file in networks}


def _few(names: list[str]) -> str:
    """The first names of a list, and how many there are."""
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return (", ".join(names[:NAMED]) or "none") + more


def _networks(recipes: list[Recipe]) -> str:
    """How many checkpoint folders there will be, and networks in them, one per seed."""
    folders = {prefix for recipe in recipes for prefix in recipe.prefixes()}
    networks = sum(last - first + 1 for first, last in (folder.seeds for folder in folders))
    return f"{len(folders)} folders of {networks} networks"


def _shown(files: list[str]) -> str:
    if len(files) <= SHOWN:
        return ", ".join(files)
    return f"{len(files)} files below {commonpath(files)}"
