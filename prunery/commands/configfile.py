"""The config that a subcommand is asked about."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prunery.yamlfile import read_mapping


def read_config(path: Path, profile: str | None = None) -> dict[str, Any]:
    """The keys of a config file, with the profile that the command line names as Snakemake's `--config profile=`.

    Raises `PruneryError` as `read_mapping` does.
    """
    return read_mapping(path) | ({"profile": profile} if profile else {})
