"""Writing files so that a kill leaves either the old file or the new one, never half of one."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from glob import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prunery.errors import PruneryError

if TYPE_CHECKING:
    from torch import Tensor


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success it is synced to disk and renamed to `path`, else removed.

    No two processes write the same path at a time, so what another one left there was killed and is removed.
    Raises `PruneryError` if the path cannot be written: no room, no right.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        for left in path.parent.glob(f".{escape(path.name)}.*.tmp"):
            left.unlink(missing_ok=True)
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(path)
    except OSError as error:
        raise PruneryError(f"{path} cannot be written ({error.strerror or error}): mend that and run again") from error
    finally:
        with suppress(OSError):
            temporary.unlink()


def _umask() -> int:
    """The process's file mode mask, which can only be read by setting it."""
    mask = os.umask(0)
    os.umask(mask)
    return mask


def save_text(text: str, path: Path) -> None:
    """Write a text file atomically."""
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def save_json(value: Any, path: Path) -> None:
    """Write JSON atomically, keys in their own order: layers as in the network, rows as the user has them. No NaN."""
    save_text(json.dumps(value, indent=1, allow_nan=False) + "\n", path)


def save_tensors(tensors: Mapping[str, Tensor], path: Path, metadata: dict[str, str] | None = None) -> None:
    """Write a safetensors file atomically; keys sorted, tensors made contiguous, moved to the CPU, unshared."""
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    plain = {key: tensors[key].detach().cpu().contiguous().clone() for key in sorted(tensors)}
    with atomic(path) as temporary:
        try:
            save_file(plain, temporary, metadata)
        except SafetensorError as error:
            raise OSError(str(error)) from error


def sha256(path: Path) -> str:
    """The digest of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
