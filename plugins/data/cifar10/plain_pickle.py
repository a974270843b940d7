"""Reading a pickle that holds nothing but containers, numbers, strings and arrays, and running nothing in it.

A pickle is a program: it names functions and calls them. This reader resolves no name but the three that a numpy array
is written with, and resolves those to the inert stand-ins below, so neither the file nor numpy decides what is called.
Whatever else a file names is refused before it is looked up.
"""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np

from prunery.errors import PruneryError


class _Dtype:
    """Stands in for `numpy.dtype`: remembers its code."""

    def __init__(self, code: Any, *_: Any) -> None:
        self.code = code.decode("ascii") if isinstance(code, bytes) else code

    def __setstate__(self, state: Any) -> None:
        """Byte order and alignment, which say nothing about bytes."""


class _Array:
    """Stands in for `numpy.ndarray`: takes the raw bytes of an array of unsigned bytes."""

    value: np.ndarray[Any, np.dtype[np.uint8]] | None = None

    def __init__(self, *_: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        _version, shape, dtype, columns_first, data = state
        if not (isinstance(dtype, _Dtype) and dtype.code == "u1" and type(data) is bytes):
            raise pickle.UnpicklingError("an array that is not of unsigned bytes")
        flat = np.frombuffer(data, np.uint8).copy()
        self.value = flat.reshape(shape, order="F" if columns_first else "C")


STAND_INS = {
    ("numpy.core.multiarray", "_reconstruct"): _Array,
    ("numpy._core.multiarray", "_reconstruct"): _Array,
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Dtype,
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in STAND_INS:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}")
        return STAND_INS[module, name]


def read_plain_pickle(path: Path) -> Any:
    """What the pickle in `path` holds, byte strings as `bytes`. Arrays are uint8.

    Raises `PruneryError` naming the file if it is damaged or holds anything but containers, numbers, strings and
    arrays of unsigned bytes.
    """
    try:
        with path.open("rb") as file:
            return _unwrapped(_Unpickler(file, encoding="bytes").load())
    except RecursionError as error:
        raise PruneryError(f"{path} is refused: it nests too deeply or holds itself") from error
    except Exception as error:  # a damaged pickle may fail in any way; none of them has run anything
        raise PruneryError(f"{path} is refused: only plain data with byte arrays is read from it ({error})") from error


def _unwrapped(value: Any) -> Any:
    """The same containers with every stand-in replaced by its array."""
    if isinstance(value, dict):
        return {_unwrapped(key): _unwrapped(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_unwrapped(entry) for entry in value)
    if isinstance(value, _Array) and value.value is not None:
        return value.value
    if not isinstance(value, (str, bytes, int, float, type(None))):
        raise pickle.UnpicklingError(f"it holds a {type(value).__name__}")
    return value
