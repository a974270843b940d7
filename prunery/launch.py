"""Starts one job: asks the warm process for a fork of itself, or runs the job in a fresh interpreter.

Run as `python -I -S prunery/launch.py JOB ARGUMENTS`: it imports the standard library only, because its own start is
paid for every job. The warm process (`prunery/warm.py`) is started by the first job that finds none and ends with the
Snakemake run named in `PRUNERY_RUN`; without that variable every job runs in an interpreter of its own.
"""

import fcntl
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

START_SECONDS = 120
SIGNALLED = 128
# -P: what lies in the folder of a run must not be imported in the place of what is installed.
PYTHON = (sys.executable, "-P", "-m")
# The temporaries of small networks are freed and asked for again at every step: keep them from the kernel.
ALLOCATOR = {
    "MALLOC_TRIM_THRESHOLD_": str(1 << 30),
    "MALLOC_MMAP_THRESHOLD_": str(1 << 30),
    "MALLOC_TOP_PAD_": str(1 << 26),
}


def main(arguments: list[str]) -> int:
    """Run one job; returns its exit code."""
    run = os.environ.get("PRUNERY_RUN")
    connection = _connect(run) if run else None
    if connection is None:
        os.execve(sys.executable, [*PYTHON, "prunery.job", *arguments], {**os.environ, **ALLOCATOR})
    return _ask(connection, arguments)


def run_folder(run: str) -> Path:
    """The private folder of a Snakemake run: where its warm process listens, and for its temporary files."""
    folder = Path(tempfile.gettempdir()) / f"prunery-{os.getuid()}-{run}"
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.stat().st_uid != os.getuid():
        raise PermissionError(f"{folder} belongs to another user")
    return folder


def _connect(run: str) -> socket.socket | None:
    """A connection to the run's warm process, started if need be; None if it cannot be had."""
    try:
        path = run_folder(run) / "socket"
        with path.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            return _try(path) or _start(path, run)
    except OSError:
        return None


def _try(path: Path) -> socket.socket | None:
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.connect(str(path))
    except OSError:
        connection.close()
        return None
    return connection


def _start(path: Path, run: str) -> socket.socket | None:
    command = [*PYTHON, "prunery.warm", str(path), run]
    quiet = subprocess.DEVNULL
    environment = {**os.environ, **ALLOCATOR}
    process = subprocess.Popen(
        command, env=environment, stdin=quiet, stdout=quiet, stderr=quiet, start_new_session=True
    )
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        if connection := _try(path):
            return connection
        time.sleep(0.02)
    return None


def _ask(connection: socket.socket, arguments: list[str]) -> int:
    """Send the request with this process's output files; wait for the exit code."""
    request = json.dumps([str(Path.cwd()), arguments, dict(os.environ)]).encode()
    with connection:
        socket.send_fds(connection, [len(request).to_bytes(8, "big")], [1, 2])
        connection.sendall(request)
        answer = connection.recv(4)
    if len(answer) < 4:
        print("prunery: the process that runs jobs has ended (killed, or out of memory?): run again", file=sys.stderr)
        return 1
    code = int.from_bytes(answer, "big")
    if code > SIGNALLED:
        print(f"prunery: the job was killed by signal {code - SIGNALLED} (9: out of memory?)", file=sys.stderr)
    return code


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(SIGNALLED + 2)
