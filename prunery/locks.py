"""The lock that a killed run leaves on its folder: lifted by the next run, if no other run is alive there.

Snakemake's lock does not say whose it is. So every run holds a mark, `.snakemake/runs/<host>.<process>`, by an
advisory lock of the operating system (flock), which ends with the process, however it ends.
"""

from __future__ import annotations

import atexit
import errno
import fcntl
import os
import shutil
import socket
from pathlib import Path
from typing import IO

from prunery.errors import PruneryError

WITHOUT_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)
_held: list[IO[str]] = []
"""Keeps this run's mark open: closing it would give it up."""


def claim(folder: Path) -> list[int]:
    """Mark `folder` as used by this process; lift what killed runs of this host left, and return their processes.

    Nothing is lifted while another run is alive, or where the file system has no such locks.
    Raises `PruneryError` if nothing can be written to the folder.
    """
    marks = folder / ".snakemake" / "runs"
    try:
        marks.mkdir(parents=True, exist_ok=True)
        with (marks / ".gate").open("w") as gate:  # one run at a time looks and marks
            fcntl.flock(gate, fcntl.LOCK_EX)
            lifted = _lift(marks, folder / ".snakemake" / "locks")
            _hold(marks / f"{socket.gethostname()}.{os.getpid()}")
    except OSError as error:
        if error.errno in WITHOUT_LOCKS:
            return []
        raise PruneryError(f"{folder} cannot be written ({error.strerror}): mend that and run again") from error
    return lifted


def _lift(marks: Path, locks: Path) -> list[int]:
    """Remove the marks that nobody holds, and Snakemake's locks with them if they must be of those runs."""
    found = [mark for mark in sorted(marks.iterdir()) if not mark.name.startswith(".")]
    dead = [mark for mark in found if not _is_held(mark)]
    locked = locks.is_dir() and any(locks.iterdir())
    known = all(mark.name.rpartition(".")[0] == socket.gethostname() for mark in dead)
    if locked and not (known and dead == found):
        return []
    if locked and dead:
        shutil.rmtree(locks)
    for mark in dead:
        mark.unlink()
    return [int(mark.name.rpartition(".")[2]) for mark in dead] if locked else []


def _is_held(mark: Path) -> bool:
    with mark.open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def _hold(mark: Path) -> None:
    file = mark.open("w")
    fcntl.flock(file, fcntl.LOCK_EX)
    file.write(f"{os.getpid()}\n")
    file.flush()
    _held.append(file)
    atexit.register(mark.unlink, missing_ok=True)
