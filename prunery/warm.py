"""The warm process: has the heavy libraries imported once and forks itself for every job.

Importing torch and transformers takes seconds; a fork takes milliseconds. The process computes nothing itself (so no
thread pool exists when it forks), imports none of Prunery's own modules (so each job runs the sources as they are),
kills a job whose client has gone, and ends when the Snakemake run it belongs to has, whose temporary files it removes.
"""

from __future__ import annotations

import ctypes
import importlib
import json
import os
import selectors
import shutil
import signal
import socket
import sys
from contextlib import suppress
from pathlib import Path

PR_SET_PDEATHSIG = 1  # linux/prctl.h
ALWAYS = ("numpy", "torch", "torch.func", "safetensors.torch", "pydantic", "jaxtyping")


def serve(path: Path, run: int, modules: list[str]) -> None:
    """Listen on `path` until the process `run` is gone."""
    os.environ["OMP_NUM_THREADS"] = "1"
    for name in modules:
        with suppress(Exception):  # a job that needs it will say what is wrong, with its own words
            importlib.import_module(name)
    with suppress(FileNotFoundError):
        path.unlink()
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen(64)
    try:
        _Server(listener, run).loop()
    finally:
        shutil.rmtree(path.parent, ignore_errors=True)


class _Server:
    """Connections by the process that serves them."""

    def __init__(self, listener: socket.socket, run: int) -> None:
        self.listener, self.run = listener, run
        self.jobs: dict[int, socket.socket] = {}
        self.selector = selectors.DefaultSelector()
        self.selector.register(listener, selectors.EVENT_READ)
        wake, self.wakeup = socket.socketpair()
        for end in (wake, self.wakeup):
            end.setblocking(False)
        self.selector.register(wake, selectors.EVENT_READ)
        signal.set_wakeup_fd(self.wakeup.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)

    def loop(self) -> None:
        while alive(self.run):
            for key, _ in self.selector.select(timeout=1):
                self._handle(key.fileobj)  # type: ignore[arg-type]
            self._reap()
        for process in self.jobs:
            _kill(process)
            os.waitpid(process, 0)

    def _handle(self, source: socket.socket) -> None:
        if source is self.listener:
            self._accept()
        elif source in self.jobs.values():  # a client says nothing more: readable means it has gone
            process = next(number for number, connection in self.jobs.items() if connection is source)
            self.selector.unregister(source)
            _kill(process)
        else:
            with suppress(BlockingIOError):
                source.recv(4096)

    def _accept(self) -> None:
        connection, _ = self.listener.accept()
        try:
            folder, arguments, environment, files = _receive(connection)
        except (OSError, ValueError):
            connection.close()
            return
        process = os.fork()
        if process == 0:
            _become_job(self, folder, arguments, environment, files)
        for file in files:
            os.close(file)
        self.jobs[process] = connection
        self.selector.register(connection, selectors.EVENT_READ)

    def _reap(self) -> None:
        for process in list(self.jobs):
            done, status = os.waitpid(process, os.WNOHANG)
            if done:
                self._answer(process, os.waitstatus_to_exitcode(status))

    def _answer(self, process: int, code: int) -> None:
        connection = self.jobs.pop(process)
        with suppress(KeyError):
            self.selector.unregister(connection)
        with connection, suppress(OSError):
            connection.sendall((code if code >= 0 else 128 - code).to_bytes(4, "big"))


def _receive(connection: socket.socket) -> tuple[str, list[str], dict[str, str], list[int]]:
    head, files, _, _ = socket.recv_fds(connection, 8, 2)
    size, parts = int.from_bytes(head, "big"), []
    while size > 0:
        part = connection.recv(min(size, 1 << 16))
        if not part:
            raise ValueError("the client went away")
        parts.append(part)
        size -= len(part)
    folder, arguments, environment = json.loads(b"".join(parts))
    return folder, arguments, environment, files


def _become_job(
    server: _Server, folder: str, arguments: list[str], environment: dict[str, str], files: list[int]
) -> None:
    """In the fork: take the client's folder, environment and output, run the job, leave."""
    code = 1
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.setpgid(0, 0)
        _end_with_parent()
        server.selector.close()
        server.listener.close()
        for number, file in enumerate(files, start=1):
            os.dup2(file, number)
        os.chdir(folder)
        os.environ.clear()
        os.environ.update(environment)
        from prunery.job import main

        code = main(arguments)
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(code)


def _end_with_parent() -> None:
    """Have the kernel kill this process when the warm one dies: nobody else would (Linux only)."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def alive(process: int) -> bool:
    """Whether a process of that number runs."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _kill(process: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process, signal.SIGKILL)


if __name__ == "__main__":
    wanted = os.environ.get("PRUNERY_IMPORTS", "").split()
    serve(Path(sys.argv[1]), int(sys.argv[2]), [*ALWAYS, *wanted])
