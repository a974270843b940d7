"""Which jobs a study consists of, counted without Snakemake: what stands behind each file it wants."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from prunery.contract import TRANSFORMS
from prunery.workflow import Workflow


class Wildcards(dict[str, str]):
    """Values by name, as attributes too: what the functions of `Workflow` take."""

    def __getattr__(self, name: str) -> str:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name) from None


Job = tuple[str, Wildcards]


def planned(study: Workflow) -> list[Job]:
    """The jobs of a run from nothing: a rule and its wildcards each, the report's left out."""
    found: dict[Any, Job] = {}
    queue = list(study.wanted)
    while queue:
        rule, wildcards = job_of(study, queue.pop())
        key = (rule, *wildcards.items())
        if key not in found:
            found[key] = rule, wildcards
            queue += _inputs(study, rule, wildcards)
    return list(found.values())


def job_of(study: Workflow, file: str) -> Job:
    """The rule that makes a result file, and its wildcards."""
    path = Path(file).relative_to(study.root)
    folder, stem = path.parent.as_posix(), path.name.rpartition(".")[0]
    if folder == ".":
        rule, _, variant = stem.partition("=")
        return rule, Wildcards({rule: variant})
    if "=" in stem:
        rule, _, variant = stem.partition("=")
        return rule, Wildcards({"folder": folder, rule: variant})
    parent, _, last = folder.rpartition("/")
    rule, _, variant = last.partition("=")
    if rule == "seeds":
        company = next((batch.folders for batch in study.together if folder in batch.folders), [folder])
        return "train", Wildcards(base=company[0].partition("/")[0], seeds=variant)
    return rule, Wildcards({"parent": parent, rule: variant})


def _inputs(study: Workflow, rule: str, wildcards: Wildcards) -> Iterator[str]:
    """The result files that a job reads, as the rules say."""
    if rule in TRANSFORMS:
        yield study.network(wildcards.parent)
    elif "folder" in wildcards:
        yield study.network(wildcards.folder)
    if rule in ("prune", "quantize"):
        yield from study.measured(rule)(wildcards)
    if rule == "distill":
        yield from study.teacher(wildcards)
    if rule == "analyse":
        yield from study.analysed(wildcards)
    if rule in ("evaluate", "bench"):
        yield study.dense(wildcards)
    if rule == "evaluate":
        yield from study.compared(wildcards)
    if rule in ("train", "finetune", "distill", "calibrate", "evaluate", "bench"):
        yield study.data(wildcards)


def read_files(study: Workflow, jobs: list[Job]) -> dict[str, list[str]]:
    """The user's own files that the jobs read, by what reads them: `data mnist`, `model of net`."""
    found = {}
    for rule, wildcards in jobs:
        if rule == "data":
            found[f"data {study.data_names[wildcards.data]}"] = study.data_files(wildcards)
        if rule == "train":
            found[f"model of {wildcards.base}"] = study.weights(wildcards)
    return {reader: files for reader, files in sorted(found.items()) if files} | _claims(study)


def _claims(study: Workflow) -> dict[str, list[str]]:
    return {"claims": study.claims} if study.claims else {}
