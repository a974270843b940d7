"""What Snakemake would do for one file and why, from a dry run; and what it recorded when files were made."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
from base64 import urlsafe_b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prunery.commands.planning import Wildcards
from prunery.errors import PruneryError

_BLOCK = re.compile(r"^(?:local)?rule ([\w-]+):\n((?: {4}.*\n)+)", re.MULTILINE)
_FIELD = re.compile(r"^ {4}(\w+): (.*)$", re.MULTILINE)
METADATA = Path(".snakemake", "metadata")


@dataclass(frozen=True)
class Planned:
    """A job that Snakemake would run; `reasons` maps what it says ("Missing output files") to the files it names."""

    rule: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    reasons: dict[str, tuple[str, ...]]
    wildcards: Wildcards


def dry_run(snakefile: Path, directory: Path, target: str, config: Sequence[str]) -> list[Planned]:
    """The jobs that would be run for `target`, first to last; `config` are Snakemake's own options for it.

    Raises `PruneryError` with Snakemake's last line where it cannot plan.
    """
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(snakefile), "--directory", str(directory)]
    command += ["--dry-run", "--nocolor", "--cores", "1", *config, "--quiet", "host", "--", target]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    if answer.returncode:
        said = [line for line in (answer.stdout + answer.stderr).splitlines() if line.strip()]
        told = [line for line in said if line.startswith("prunery: ")] or said[-1:] or ["no answer"]
        raise PruneryError(f"snakemake --dry-run {target}: {told[-1].removeprefix('prunery: ')}")
    return parse(answer.stdout + answer.stderr)


def parse(text: str) -> list[Planned]:
    """The jobs that the output of a dry run lists."""
    return [_planned(rule, dict(_FIELD.findall(body))) for rule, body in _BLOCK.findall(text)]


def _planned(rule: str, fields: dict[str, str]) -> Planned:
    pairs = (pair.partition("=") for pair in _items(fields.get("wildcards", "")))
    wildcards = Wildcards({name: value for name, _, value in pairs})
    reasons = (part.partition(": ") for part in _parts(fields.get("reason", "")))
    told = {name: _items(files) for name, _, files in reasons}
    return Planned(rule, _items(fields.get("input", "")), _items(fields.get("output", "")), told, wildcards)


def _parts(reason: str) -> list[str]:
    """The single reasons; the one that quotes params, which may hold anything, is cut to its name."""
    plain = re.sub(r"(Params have changed since last execution): .*'\s*(?=;|$)", r"\1", reason)
    return [part.strip() for part in plain.split("; ") if part.strip()]


def _items(text: str) -> tuple[str, ...]:
    return tuple(item for item in text.split(", ") if item)


def record(directory: Path, file: str) -> dict[str, Any]:
    """What Snakemake noted when it last made a file; empty if it never did, or its notes lie elsewhere."""
    path = directory / METADATA / _record_name(directory, file)
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found


def _record_name(directory: Path, file: str) -> Path:
    """A file's name in base 64; names that are too long for a file become folders whose names start with @."""
    name = urlsafe_b64encode(file.encode()).decode()
    longest = os.pathconf(directory, "PC_NAME_MAX") - 1
    parts = [name[start : start + longest] for start in range(0, len(name), longest)]
    return Path(*(f"@{part}" for part in parts[:-1]), parts[-1])


def told(noted: dict[str, Any]) -> dict[str, Any]:
    """What the job was told when it ran, from its note: the JSON text of `params.job`; empty if there is none."""
    for text in noted.get("params", ()):
        try:
            value = json.loads(ast.literal_eval(text))
        except (ValueError, SyntaxError, TypeError):
            continue
        if isinstance(value, dict) and "stage" in value:
            return value
    return {}
