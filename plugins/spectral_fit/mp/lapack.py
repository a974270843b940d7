"""Eigenvalues of symmetric matrices by scipy's LAPACK, called so that other threads work meanwhile.

scipy offers its LAPACK to compiled code (`scipy.linalg.cython_lapack`, function pointers in `__pyx_capi__`). Called
through ctypes it gives up the interpreter's lock, which `scipy.linalg.eigvalsh` keeps; numpy's `eigvalsh` gives it up
too but needs 27 ms for the 768 eigenvalues that scipy's build finds in 16 (one thread, single precision).
"""

from __future__ import annotations

import ctypes
from functools import cache
from typing import Any

import numpy as np
from scipy.linalg import cython_lapack

PLAIN_INTEGERS = 6
"""Arguments of the routine that are C's `int` (n, lda, lwork, iwork, liwork, info)."""
BLOCK = 64
"""Columns that LAPACK reduces at a time; the workspace holds as many per row."""


def eigvalsh(matrix: Any) -> Any:
    """Ascending eigenvalues of a symmetric float32 or float64 array `[n, n]`, which is overwritten.

    Raises `numpy.linalg.LinAlgError` if LAPACK finds none (a matrix with NaN or infinity).
    """
    single = matrix.dtype == np.float32
    driver, n = _driver("ssyevd" if single else "dsyevd"), len(matrix)
    if driver is None or not matrix.flags.c_contiguous:
        return np.linalg.eigvalsh(matrix)
    values, work = np.empty(n, matrix.dtype), np.empty((BLOCK + 2) * n + 1, matrix.dtype)
    no_vectors, upper = ctypes.c_char(b"N"), ctypes.c_char(b"U")
    size, length, integers, one, info = (ctypes.c_int(number) for number in (n, len(work), 0, 1, 0))
    of = ctypes.byref
    problem = of(no_vectors), of(upper), of(size), matrix.ctypes.data, of(size), values.ctypes.data
    driver(*problem, work.ctypes.data, of(length), of(integers), of(one), of(info))
    if info.value:
        raise np.linalg.LinAlgError(f"LAPACK's eigenvalue routine ended with {info.value}")
    return values


@cache
def _driver(name: str) -> Any:
    """The routine as a ctypes function, or nothing if this build of scipy takes other arguments than C's int."""
    capsule, python = cython_lapack.__pyx_capi__[name], ctypes.pythonapi
    python.PyCapsule_GetName.restype, python.PyCapsule_GetName.argtypes = ctypes.c_char_p, [ctypes.py_object]
    python.PyCapsule_GetPointer.restype = ctypes.c_void_p
    python.PyCapsule_GetPointer.argtypes = [ctypes.py_object, ctypes.c_char_p]
    signature = python.PyCapsule_GetName(capsule)
    if signature.count(b" int *") != PLAIN_INTEGERS:
        return None
    kind = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 11)
    return kind(python.PyCapsule_GetPointer(capsule, signature))
