"""What a job is told of the code it will run, so that Snakemake notices when any of it changes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prunery.contract import TRANSFORMS, Method
from prunery.fingerprint import PACKAGE, fingerprint, installed, library_files, method_files
from prunery.registry import Registry

GATED = (*TRANSFORMS, "evaluate")
"""Stages whose jobs pass `prunery.gates`."""
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


def stage_code(stage: str, scripts: Path) -> str:
    """The digest of what lies between Snakemake and a method: the script, the job, the library behind the stage."""
    glue = [scripts / f"{stage}.py", PACKAGE / "job.py", PACKAGE / "measured.py"]
    if stage in GATED:
        glue.append(PACKAGE / "gates.py")
    return fingerprint(*library_files(f"prunery.{stage}"), *glue)


def report_code(scripts: Path) -> str:
    """The digest of what writes the report, its page included."""
    page = sorted(path for path in (PACKAGE / "reporting").rglob("*") if path.suffix in PAGE)
    return fingerprint(scripts / "report.py", *library_files("prunery.report"), *page)
