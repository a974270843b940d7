"""`prunery doctor`: what its probes find, and that none of them can take it down."""

from __future__ import annotations

import pytest
from packaging.requirements import Requirement

from prunery.cli import main
from prunery.commands import doctor, probes
from prunery.commands.probes import BAD, GOOD, NOTE, PROBES

NAMES = [name for part in PROBES.values() for name in part]
STUB = """#!/bin/sh
# In the place of Python: answers for each probe, and dies at two of them.
shift 2
for name in "$@"; do
    [ "$name" = timm ] && kill -SEGV $$
    [ "$name" = memory ] && { echo "no memory module" >&2; exit 3; }
    echo "{\\"probe\\": \\"$name\\", \\"found\\": [[\\"ok\\", \\"$name\\", \\"fine\\"]]}"
done
"""


@pytest.mark.slow
def test_this_environment_is_sound(capsys, tmp_path):
    (tmp_path / "mnist").mkdir()
    for split in ("train", "t10k"):
        for kind in ("images-idx3", "labels-idx1"):
            (tmp_path / "mnist" / f"{split}-{kind}-ubyte").touch()
    assert main(["doctor", "--data", str(tmp_path)]) == 0
    rows = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert [row for row in rows if row in PROBES] == ["packages", "backends", "machine", "data"]
    assert any(row.startswith("ok torchvision 0.") and " matches torch 2." in row for row in rows)
    assert "ok eager runs here" in rows
    assert any(row.startswith("ok cores ") for row in rows)
    assert "ok mnist read by idx" in rows
    assert rows[-1] == "all that is needed works"


def test_a_probe_that_takes_its_process_down_is_named_and_the_others_run(capsys, tmp_path, monkeypatch):
    stub = tmp_path / "python"
    stub.write_text(STUB)
    stub.chmod(0o755)
    monkeypatch.setattr(doctor.sys, "executable", str(stub))
    assert main(["doctor"]) == 1
    rows = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert "FAILS timm its process was ended by SIGSEGV: reinstall the pinned versions: uv sync" in rows
    assert "- memory could not be found out: its process ended with 3: no memory module" in rows
    assert sum(row.endswith(" fine") for row in rows) == len(NAMES) - 2
    assert rows[-1] == "to be mended: timm"


def test_a_probe_that_hangs_is_ended(tmp_path, monkeypatch):
    stub = tmp_path / "python"
    stub.write_text("#!/bin/sh\nexec sleep 60\n")
    stub.chmod(0o755)
    monkeypatch.setattr(doctor.sys, "executable", str(stub))
    monkeypatch.setattr(doctor, "PATIENCE", 0.2)
    assert dict(doctor._results(["torch"], {}))["torch"][0][:2] == [BAD, "torch"]


def test_an_exception_in_a_probe_is_a_line(capsys, monkeypatch):
    monkeypatch.setitem(PROBES["packages"], "timm", probes.imports("no_such_module_anywhere"))
    probes.main(["timm"])
    assert "ModuleNotFoundError: No module named 'no_such_module_anywhere': reinstall" in capsys.readouterr().out


def test_versions_out_of_range_and_absent_packages_are_named():
    assert probes._misfit(Requirement("pydantic>=2")) is None
    odd = probes._misfit(Requirement("pydantic>=99"))
    assert odd is not None
    assert (odd.state, odd.what) == (BAD, "pydantic")
    assert odd.said.endswith("is installed, pydantic >=99 is needed: reinstall the pinned versions: uv sync")
    absent = probes._misfit(Requirement("no-such-package>=1"))
    assert absent == (BAD, "no-such-package", f"is not installed, no-such-package >=1 is needed: {probes.REINSTALL}")


def test_a_torchvision_for_another_torch_is_named_before_it_is_imported(monkeypatch):
    monkeypatch.setattr(probes, "requires", lambda name: ["numpy", "torch==2.14.0"])
    monkeypatch.setattr(probes, "version", lambda name: {"torch": "2.13.0+cpu", "torchvision": "0.28.0"}[name])
    (found,) = probes.torchvision()
    said = "torchvision 0.28.0 wants torch ==2.14.0, 2.13.0 is installed: install the two together"
    assert found == (BAD, "torchvision", said)


def test_the_data_folder_is_looked_at(tmp_path, monkeypatch):
    monkeypatch.delenv("PRUNERY_DATA", raising=False)
    assert next(probes.data()).state == NOTE
    monkeypatch.setenv("PRUNERY_DATA", str(tmp_path / "nowhere"))
    assert next(probes.data()).state == BAD
    monkeypatch.setenv("PRUNERY_DATA", str(tmp_path))
    assert [found.state for found in probes.data()] == [GOOD, NOTE]


def test_the_processor_is_described(monkeypatch):
    facts = {"model name": "Test", "flags": "fpu avx2 avx512_vnni"}
    monkeypatch.setattr(probes, "processor", lambda path: facts)
    assert [(found.state, found.said) for found in probes.cpu()] == [(GOOD, "Test"), (GOOD, "avx2, avx512_vnni")]
    facts["flags"] = "fpu avx2"
    assert [found.state for found in probes.cpu()] == [GOOD, NOTE]
