"""The probes of `prunery doctor`: each looks at one thing of the environment and says what it found.

They run in a process of their own (`python -m prunery.commands.probes NAME...`), which prints a JSON line after each:
one that takes its process down is known by name, and the others still run.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import NamedTuple

from packaging.requirements import Requirement

from prunery.errors import PruneryError
from prunery.machine import FLAGS, processor

GOOD, NOTE, BAD = "ok", "-", "FAILS"
"""What a probe may find: all is well, something optional is absent, something needed is broken."""
REINSTALL = "reinstall the pinned versions: uv sync"
DISTRIBUTION = "prunery"
GIB = 2**30


class Found(NamedTuple):
    """One line of the answer."""

    state: str
    what: str
    said: str


def versions() -> Iterator[Found]:
    """Every package that Prunery asks for, against the version it asks for."""
    needed = [text for text in map(Requirement, requires(DISTRIBUTION) or ()) if not text.marker]
    wrong = [found for found in map(_misfit, needed) if found]
    yield from wrong
    if not wrong:
        yield Found(GOOD, "versions", f"all {len(needed)} packages are there, in versions that are wanted")


def _misfit(requirement: Requirement) -> Found | None:
    wanted = f"{requirement.name} {requirement.specifier} is needed: {REINSTALL}"
    try:
        installed = version(requirement.name)
    except PackageNotFoundError:
        return Found(BAD, requirement.name, f"is not installed, {wanted}")
    fits = requirement.specifier.contains(installed, prereleases=True)
    return None if fits else Found(BAD, requirement.name, f"{installed} is installed, {wanted}")


def torchvision() -> Iterator[Found]:
    """A torchvision built for another torch breaks timm and transformers, too."""
    built_for = [Requirement(text) for text in requires("torchvision") or () if Requirement(text).name == "torch"]
    installed = version("torch").partition("+")[0]
    if built_for and not built_for[0].specifier.contains(installed, prereleases=True):
        said = f"torchvision {version('torchvision')} wants torch {built_for[0].specifier}, {installed} is installed"
        yield Found(BAD, "torchvision", f"{said}: install the two together")
        return
    importlib.import_module("torchvision.ops").nms  # noqa: B018 - the operator that is missing where they do not match
    yield Found(GOOD, "torchvision", f"{version('torchvision')} imports and matches torch {installed}")


def imports(module: str) -> Callable[[], Iterator[Found]]:
    """A probe that imports a package."""
    name = module.partition(".")[0]

    def probe() -> Iterator[Found]:
        importlib.import_module(module)
        yield Found(GOOD, name, f"{version(name)} imports")

    return probe


def backends() -> Iterator[Found]:
    """Each backend's own word on whether it runs here."""
    from prunery.registry import registry

    for name in registry().names("backend"):
        try:
            why = registry().configured("backend", name, {}).available()  # type: ignore[attr-defined]
        except Exception as error:  # a plugin may fail in any way
            why = f"{type(error).__name__}: {error}"
        yield Found(NOTE, name, f"cannot run here: {why}") if why else Found(GOOD, name, "runs here")
    for plugin, reason in sorted(registry().broken.items()):
        yield Found(NOTE, f"plugin {plugin}", f"is set aside: {reason}")


def cpu() -> Iterator[Found]:
    """The processor, and what it has for integers."""
    facts = processor(Path("/proc/cpuinfo"))
    yield Found(GOOD, "processor", facts.get("model name", "unknown"))
    there = (facts.get("flags") or facts.get("Features") or "").split()
    flags = [flag for flag in FLAGS if flag in there]
    quick = {"avx512_vnni", "avx_vnni", "amx_int8", "asimddp", "i8mm"} & set(flags)
    slow = "" if quick else "; none with dot products of integers: int8 may be no faster than fp32, and may saturate"
    yield Found(GOOD if quick else NOTE, "instructions", f"{', '.join(flags) or 'none known'}{slow}")


def threads() -> Iterator[Found]:
    """Cores of this process, and what limits its threads."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    limit = os.environ.get("OMP_NUM_THREADS")
    told = f"; OMP_NUM_THREADS={limit} (jobs set their own)" if limit else ""
    yield Found(GOOD, "cores", f"{usable} of {os.cpu_count()} usable{told}")


def memory() -> Iterator[Found]:
    """Of the machine, or of the group of processes this one is confined to."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    confined = Path("/sys/fs/cgroup/memory.max")
    limit = confined.read_text("utf-8").strip() if confined.exists() else "max"
    usable = min(total, int(limit)) if limit.isdigit() else total
    enough = usable >= 4 * GIB
    said = f"{usable / GIB:.1f} GiB" + ("" if enough else "; the default study wants 4 GiB")
    yield Found(GOOD if enough else NOTE, "memory", said)


def gpu() -> Iterator[Found]:
    """CUDA devices that torch can use."""
    import torch

    if not torch.cuda.is_available():
        yield Found(NOTE, "GPU", "none that torch can use; none is needed")
    for index in range(torch.cuda.device_count()):
        facts = torch.cuda.get_device_properties(index)
        yield Found(GOOD, "GPU", f"{facts.name}, {facts.total_memory / GIB:.0f} GiB")


def data() -> Iterator[Found]:
    """The data folder, and which data source can read which of the folders in it."""
    from prunery.datafolder import data_folder

    folder = data_folder(None)
    if folder is None:
        yield Found(NOTE, "data", "no folder is set; the default study needs none. Set PRUNERY_DATA or give --data")
    elif not folder.is_dir():
        yield Found(BAD, "data", f"there is no folder {folder}: correct PRUNERY_DATA or --data")
    else:
        yield Found(GOOD, "data", str(folder))
        yield from _sets(folder)


def _sets(folder: Path) -> Iterator[Found]:
    known = 0
    for below in sorted(path for path in folder.iterdir() if path.is_dir()):
        if readers := [name for name in _sources() if _reads(name, folder, below.name)]:
            known += 1
            yield Found(GOOD, below.name, f"read by {', '.join(readers)}")
    if not known:
        yield Found(NOTE, "sets", "no folder in it that a data source can read: see docs/real_data.md")


def _sources() -> list[str]:
    """The data sources that read a folder."""
    from prunery.registry import registry

    return [name for name in registry().names("data") if "folder" in registry().get("data", name).Settings.model_fields]


def _reads(source: str, folder: Path, name: str) -> bool:
    from prunery.registry import registry

    try:
        return bool(registry().configured("data", source, {"folder": name}).files(folder))  # type: ignore[attr-defined]
    except (PruneryError, OSError):
        return False


PROBES: dict[str, dict[str, Callable[[], Iterator[Found]]]] = {
    "packages": {
        "versions": versions,
        "torch": imports("torch"),
        "torchvision": torchvision,
        "timm": imports("timm"),
        "transformers": imports("transformers"),
        "snakemake": imports("snakemake.api"),
    },
    "backends": {"backends": backends},
    "machine": {"processor": cpu, "cores": threads, "memory": memory, "GPU": gpu},
    "data": {"data": data},
}
"""By heading, the probes in order."""


def failed(name: str, why: str) -> Found:
    """What is said of a probe that did not come to an end; only packages are needed by all."""
    if name in PROBES["packages"]:
        return Found(BAD, name, f"{why}: {REINSTALL}")
    return Found(NOTE, name, f"could not be found out: {why}")


def main(names: list[str]) -> None:
    """Run probes, and print a JSON line with what each found."""
    probes = {name: probe for part in PROBES.values() for name, probe in part.items()}
    for name in names:
        try:
            found = list(probes[name]())
        except Exception as error:  # whatever it is, it is what was looked for
            found = [failed(name, f"{type(error).__name__}: {' '.join(str(error).split())}")]
        print(json.dumps({"probe": name, "found": found}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
