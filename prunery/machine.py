"""What times depend on: the processor, its instructions for integers, threads, versions."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from prunery.fingerprint import installed

FLAGS = (
    "avx2", "avx_vnni", "avx512f", "avx512_vnni", "avx512_bf16", "amx_int8", "amx_bf16", "asimddp", "i8mm", "sve",
)  # fmt: skip
"""Instruction sets that decide how fast fp32 and int8 kernels are; int8 without VNNI (or dot products) may saturate."""


def machine(threads: int, distributions: Iterable[str]) -> dict[str, Any]:
    """Processor, flags, cores used and there, GPU if any, and installed versions of the distributions."""

    import torch

    facts = processor(Path("/proc/cpuinfo"))
    found = {
        "cpu": facts.get("model name") or platform.processor() or platform.machine(),
        "flags": [flag for flag in FLAGS if flag in (facts.get("flags") or facts.get("Features") or "").split()],
        "cores": os.cpu_count(),
        "threads": threads,
        "versions": {name: installed(name) for name in sorted({"torch", *distributions})},
    }
    return found | ({"gpu": torch.cuda.get_device_name()} if torch.cuda.is_available() else {})


def processor(path: Path) -> Mapping[str, str]:
    """The first processor's entry in a file such as /proc/cpuinfo; empty where there is none."""
    if not path.exists():
        return {}
    first = path.read_text(encoding="utf-8").partition("\n\n")[0]
    pairs = (line.partition(":") for line in first.splitlines())
    return {name.strip(): value.strip() for name, _, value in pairs}


def hold_threads(count: int) -> None:
    """Hold every thread pool to the job's cores: oversubscribed, small networks run ten times slower."""
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[name] = str(count)
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    import torch

    torch.set_num_threads(count)
    torch.set_deterministic_debug_mode("warn")
