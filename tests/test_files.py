"""Atomic writing: a failure leaves the old file, and nothing else."""

import pytest

from prunery.errors import PruneryError
from prunery.files import atomic, save_json, sha256


def test_a_failed_write_leaves_the_old_file_and_no_temporary(tmp_path):
    path = tmp_path / "model.json"
    save_json({"a": 1}, path)
    before = sha256(path)
    with pytest.raises(UnicodeEncodeError), atomic(path) as temporary:
        temporary.write_text("half, then \udcff", encoding="utf-8")
    assert sha256(path) == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["model.json"]


def test_nan_is_refused(tmp_path):
    with pytest.raises(ValueError, match="JSON"):
        save_json({"loss": float("nan")}, tmp_path / "x.json")
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_writer_left_goes_with_the_next_write(tmp_path):
    left = tmp_path / ".a[1].json.12345.tmp"
    other = tmp_path / ".b.json.12345.tmp"
    for path in (left, other):
        path.touch()
    save_json({}, tmp_path / "a[1].json")
    assert sorted(path.name for path in tmp_path.iterdir()) == [other.name, "a[1].json"]


def test_a_path_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(PruneryError, match=r"file/a\.json cannot be written \(File exists\)"):
        save_json({}, tmp_path / "file" / "a.json")
