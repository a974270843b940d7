"""What a job is told of the code it will run, so that Snakemake notices when any of it changes."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from prunery.contract import MEASURES, TRANSFORMS, Method
from prunery.errors import PruneryError
from prunery.fingerprint import PACKAGE, fingerprint, installed, library_files, method_files, own_files
from prunery.registry import Registry

CALLED = {
    "network": (*TRANSFORMS, *MEASURES),
    "measured": ("calibrate", "spectral_fit", "prune", "quantize"),
    "gates": (*TRANSFORMS, "evaluate"),
}
"""Modules that `prunery.job` calls, by the stages it calls them for: to read networks, for measurements, for gates."""
PAGE = (".css", ".js", ".j2")


def identity(registry: Registry, method: Method) -> dict[str, Any]:
    """A configured method: its name, settings, distribution, the versions it depends on, and the digest of its code."""
    distribution, version = registry.distributions[method.stage, method.name]
    called = [registry.get(stage, name) for stage, name in method.uses()]
    sources = {file for used in (type(method), *called) for file in method_files(used)}
    return {
        "method": method.name,
        "settings": method.settings.model_dump(mode="json"),
        "distribution": distribution,
        "version": version,
        "versions": {name: installed(name) for name in method.versions},
        "fingerprint": fingerprint(*sorted(sources)),
    }


@cache
def stage_code(stage: str, scripts: Path) -> str:
    """The digest of what lies between Snakemake and a method."""
    return fingerprint(*stage_files(stage, scripts))


def stage_files(stage: str, scripts: Path) -> tuple[Path, ...]:
    """The script, the job, the library behind the stage and what the job calls for it."""
    called = [name for name, stages in CALLED.items() if stage in stages]
    library = {file for name in (stage, *called) for file in library_files(f"prunery.{name}")}
    return (*sorted(library), scripts / f"{stage}.py", PACKAGE / "job.py")


def report_code(scripts: Path) -> str:
    """The digest of what writes the report, its page included."""
    page = sorted(path for path in (PACKAGE / "reporting").rglob("*") if path.suffix in PAGE)
    return fingerprint(scripts / "report.py", *library_files("prunery.report"), *page)


def check_unedited(told: Mapping[str, Any], registry: Registry, scripts: Path, since: float) -> None:
    """Refuse a job whose code was edited after the run was planned: its result would be filed under the old digest.

    Digests are compared only if a source file has changed `since` then (seconds since 1970). Raises `PruneryError`.
    """
    stage = told["stage"]
    parts = [(kind, told[kind]) for kind in ("model",) if kind in told]
    parts += [("backend", part) for part in told.get("backends", ())]
    parts += [(stage, told)] if "method" in told else []
    methods = [registry.configured(kind, part["method"], part["settings"]) for kind, part in parts]
    used = [registry.get(*called) for method in methods for called in method.uses()]
    own = {file for kind in (*map(type, methods), *used) for file in own_files(kind)}
    if all(file.stat().st_ctime < since for file in (*PACKAGE.rglob("*.py"), *scripts.glob("*.py"), *own)):
        return
    code = report_code(scripts) if stage == "report" else stage_code(stage, scripts)
    found = [identity(registry, method)["fingerprint"] for method in methods]
    if [code, *found] != [told["code"], *(part["fingerprint"] for _, part in parts)]:
        raise PruneryError("its code was edited while this run was under way: run again")
