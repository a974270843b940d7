"""Fingerprints: what changes them and what does not."""

from importlib import import_module
from pathlib import Path

from prunery.fingerprint import fingerprint, library_files, method_files, normal_form
from prunery.registry import registry


def _print(tmp_path: Path, text: str) -> str:
    path = tmp_path / "method.py"
    path.write_text(text)
    normal_form.cache_clear()
    fingerprint.cache_clear()
    return fingerprint(path)


def test_comments_layout_and_docstrings_do_not_count_but_code_does(tmp_path):
    first = _print(tmp_path, 'def f(x):\n    """One."""\n    return x + 1\n')
    assert _print(tmp_path, 'def f(x):\n    """Two."""\n    # why\n    return (x + 1)\n') == first
    assert _print(tmp_path, "def f(x):\n    return x + 2\n") != first


def test_moved_folders_agree_and_names_count(tmp_path):
    for name in ("a/plug/m.py", "b/plug/m.py", "b/plug/n.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x = 1\n")
    assert fingerprint(tmp_path / "a/plug/m.py") == fingerprint(tmp_path / "b/plug/m.py")
    assert fingerprint(tmp_path / "b/plug/m.py") != fingerprint(tmp_path / "b/plug/n.py")


def test_the_place_of_one_folder_before_another_does_not_count(tmp_path):
    """A library and a plugin sort otherwise where both are installed than where both are checked out."""
    names = ("a/library/m.py", "b/plug/m.py", "b/library/m.py", "a/plug/m.py")
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(f"x = '{Path(name).parent.name}'\n")
    first, second = (sorted(tmp_path / name for name in pair) for pair in (names[:2], names[2:]))
    assert fingerprint(*first) == fingerprint(*second) == fingerprint(*reversed(second))


def test_a_stage_depends_on_what_it_imports_and_nothing_else():
    names = {path.name for path in library_files("prunery.prune")}
    assert {"prune.py", "checkpoint.py", "layers.py", "errors.py"} <= names
    assert not names & {"bench.py", "report.py", "workflow.py", "config.py", "training.py", "job.py"}


def test_a_method_answers_for_the_library_modules_it_imports():
    registered = registry().methods["prune", "magnitude"]
    assert {"core.py", "sparsity.py"} <= {path.name for path in method_files(registered)}
    assert not any(path.name.startswith("test_") for path in method_files(registered))


def test_a_method_in_a_module_answers_for_the_package_around_it(tmp_path, monkeypatch):
    package = tmp_path / "stranger"
    package.mkdir()
    for name in ("__init__", "scores", "test_scores", "method"):
        (package / f"{name}.py").write_text("class Method: library = ()\n" if name == "method" else "")
    (tmp_path / "alone.py").write_text("class Method: library = ()\n")
    monkeypatch.syspath_prepend(tmp_path)
    found = [path.name for path in method_files(import_module("stranger.method").Method)]
    assert found == ["__init__.py", "method.py", "scores.py"]
    assert method_files(import_module("alone").Method) == (tmp_path / "alone.py",)


def test_texts_that_stand_alone_do_not_count(tmp_path):
    first = _print(tmp_path, 'x = 1\n"""What x is."""\n')
    assert _print(tmp_path, "x = 1\n") == first
    assert _print(tmp_path, 'x = "What x is."\n') != first
