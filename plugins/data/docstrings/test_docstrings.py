"""What is taken from a source file, what is cut out of it, and how files are divided."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from prunery import PruneryError
from prunery.registry import registry

SOURCE = '''
"""Module of numpy."""
def f():
    """One two

    ===== three"""
    if True:
        def hidden():
            """under a condition"""
    def inner():
        """inner one two"""
class C:
    """C uses np.array and torch.Tensor, see libtorch"""
    def method(self):
        "method one two"
    async def other(self):
        "other one two"
    x = "no docstring at all"
'''


def core():
    registry()
    from prunery_plugins.data.docstrings import core

    return core


def choice(**changed: object) -> SimpleNamespace:
    return SimpleNamespace(**{"per_package": 100, "words": 3, "hide_names": True, **changed})


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Lay out files as the installed package `pkg`."""

    def write(files: dict[str, str]) -> Path:
        for name, content in files.items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(content)
        monkeypatch.setattr(core(), "package_folder", lambda name: tmp_path)
        return tmp_path

    return write


def test_docstrings_of_modules_classes_and_functions_are_taken(tmp_path) -> None:
    (tmp_path / "m.py").write_text(SOURCE)
    assert list(core().texts_of(tmp_path / "m.py", choice())) == [
        "One two three",
        "inner one two",
        "C uses array and Tensor, see",
        "method one two",
        "other one two",
    ]
    named = list(core().texts_of(tmp_path / "m.py", choice(hide_names=False)))
    assert named[0] == "Module of numpy."
    assert "C uses np.array and torch.Tensor, see libtorch" in named


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("import numpy as np", "import  as "),
        ("a numpy.ndarray or pd.DataFrame", "a ndarray or DataFrame"),
        ("NumPy, SciPy, PyTorch, scikit-learn, Pandas", ", , , , "),
        ("numpydoc-style _torch_docs torch2.0", "  0"),
        ("input, spd matrix, inp, update, npy", "input, spd matrix, inp, update, npy"),
    ],
)
def test_names_of_the_packages_are_cut_out(text: str, left: str) -> None:
    assert core().NAMES.sub("", text) == left


def test_tests_and_vendored_packages_and_broken_files_are_left_out(package) -> None:
    good = '"""one two three"""'
    package({"a.py": good, "tests/b.py": '"""b b b"""', "x/_vendor/c.py": '"""c c c"""', "d.py": "def broken("})
    found = core().collect(["pkg"], choice())
    assert [text.words for text in found] == ["one two three"]


def test_texts_are_distinct_and_capped_and_numbered_by_package_and_file(package) -> None:
    package({f"{name}.py": f'"""same same same"""\ndef f():\n    "text of {name}"\n' for name in "abcde"})
    found = core().collect(["pkg", "pkg"], choice(per_package=4))
    words = [text.words for text in found]
    assert len(words) == len(set(words)) == 6  # four of the first package; what is left of the second
    assert [text.label for text in found] == [0, 0, 0, 0, 1, 1]
    assert len({text.file for text in found if text.words != "same same same"}) == 5


def test_order_follows_names_not_the_disk(package) -> None:
    files = {f"{name}.py": f'"""text of {name}"""' for name in "abcdefgh"}
    folder = package(files)
    first = core().collect(["pkg"], choice())
    for name in files:
        (folder / name).unlink()
    package(dict(reversed(files.items())))
    assert core().collect(["pkg"], choice()) == first
    assert [text.words[-1] for text in first] != sorted(text.words[-1] for text in first)


def test_no_file_is_in_both_splits() -> None:
    Text = core().Text
    texts = [Text(str(i), i // 50, i // 7 if i < 50 else 10 + i // 7) for i in range(100)]
    train, test = core().divide(texts, 0.2)
    assert {text.file for text in train}.isdisjoint(text.file for text in test)
    assert sorted(train + test, key=lambda text: int(text.words)) == texts
    for label in (0, 1):
        assert 10 <= sum(text.label == label for text in test) < 17


def test_a_package_that_is_not_installed_is_named() -> None:
    with pytest.raises(PruneryError, match="reads the sources of no_such_package: install it"):
        core().package_folder("no_such_package")


@pytest.mark.slow
def test_the_installed_packages_give_over_five_thousand_texts_without_their_names() -> None:
    data = registry().configured("data", "docstrings", {}).load(None)
    assert len(data.train) + len(data.validation) + len(data.test) > 5000
    assert data.classes == ("numpy", "scipy", "pandas", "sklearn", "torch")
    for split in ("train", "validation", "test"):
        assert data.split(split).labels.bincount(minlength=5).min() > 40
    assert data.spec.shape == (64,)
    assert data.spec.vocabulary == 4000
    leaks = ("numpy", "scipy", "pandas", "sklearn", "torch", "scikit")
    assert [word for word in data.vocabulary if word in ("np", "pd") or any(name in word for name in leaks)] == []
    rows = torch.cat([data.train.inputs, data.validation.inputs, data.test.inputs])
    assert (rows[:, 0] == 2).all()
    assert len(rows.unique(dim=0)) > 0.98 * len(rows)
