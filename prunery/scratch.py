"""Temporary folders of jobs."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from prunery.launch import run_folder


@contextmanager
def scratch() -> Iterator[Path]:
    """A temporary folder, removed at the end; if the job is killed, its run removes it."""
    run = os.environ.get("PRUNERY_RUN")
    with TemporaryDirectory(dir=run_folder(run) if run else None) as folder:
        yield Path(folder)
