"""Atomic writing: a failure leaves the old file, and nothing else."""

import pytest

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
