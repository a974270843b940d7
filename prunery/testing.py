"""The contract suite: what every method must do, as tests that a plugin's author inherits.

    from prunery.testing import MethodContract
    from prunery_rownorm import RowNorm

    class TestRowNorm(MethodContract):
        method = RowNorm

pytest then runs the checks that all methods share and those of the method's stage (`prunery.checks`), on toy networks
and data (`prunery.toys`), through the stage's real function.
"""

from __future__ import annotations

import inspect
import json
import subprocess
import sys
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar

import pytest
from pydantic import ValidationError

from prunery.checks import CHECKS, Case
from prunery.contract import BASES, Method
from prunery.data import Spec
from prunery.needs import parse_need
from prunery.registry import registry
from prunery.toys import toy_images, toy_registered

HEADINGS = ("What it does", "When to use it", "Settings", "Cost", "Interactions", "Source")
"""The second-level headings of a card, in order."""


class MethodContract:
    """Subclass it, name it `Test...`, and set `method`; the other attributes are for methods that need help."""

    method: ClassVar[type[Method]]
    settings: ClassVar[dict[str, Any]] = {}
    """Settings to test with: required ones, or smaller ones that make the tests quick."""
    skip: ClassVar[str] = ""
    """Why the stage's checks cannot run here, if so; the checks that all methods share run nevertheless."""
    spec: ClassVar[Spec] = toy_images().spec
    """Architectures: the data to build for (8x8 gray images of four classes)."""
    card: ClassVar[Path | None] = None
    """The method's card; a README.md beside its module if None."""

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """One test per check of the method's stage."""
        if "check" in metafunc.fixturenames:
            checks = CHECKS.get(self.method.stage, [])
            metafunc.parametrize("check", checks, ids=[check.__name__ for check in checks])

    def configured(self) -> Any:
        """The method under test."""
        return self.method(self.method.Settings.model_validate(self.settings))

    def data_folder(self, tmp: Path) -> Path | None:
        """Data sources: the user's data folder; write a few small files to `tmp` and return it, or return another."""
        return None

    # --- what all methods share --------------------------------------------------------------------------------------

    def test_states_a_stage_and_a_name(self) -> None:
        """Registered under a stage whose abstract class it extends; nothing abstract is left."""
        assert self.method.name
        assert issubclass(self.method, BASES[self.method.stage])
        assert not inspect.isabstract(self.method)

    def test_defaults_construct(self) -> None:
        """Without settings, unless the test states some because the method cannot do without."""
        required = [name for name, field in self.method.Settings.model_fields.items() if field.is_required()]
        assert set(required) <= set(self.settings), f"required settings without a value in this test: {required}"
        assert self.configured().settings.model_dump() is not None
        if not self.settings:
            self.method()

    def test_unknown_settings_are_refused(self) -> None:
        """A misspelt setting must not be ignored."""
        with pytest.raises(ValidationError, match="extra_forbidden"):
            self.method.Settings.model_validate({**self.settings, "no_such_setting": 1})

    def test_settings_are_frozen_and_survive_json(self) -> None:
        """Jobs get their settings as JSON."""
        settings = self.configured().settings
        assert settings.model_config["frozen"]
        again = self.method.Settings.model_validate(json.loads(json.dumps(settings.model_dump(mode="json"))))
        assert again == settings

    def test_every_setting_is_described(self) -> None:
        """Also: the fields that the amount and the argument set exist."""
        fields = self.method.Settings.model_fields
        bare = [name for name, field in fields.items() if not field.description]
        assert not bare, f"settings without a description: {bare}"
        named = {self.method.Settings.amount, self.method.Settings.argument} - {None}
        assert named <= set(fields)

    def test_needs_name_measures(self) -> None:
        """Each as `stage=variant`, of a stage that measures."""
        for need in self.configured().needs():
            parse_need(need)

    def test_importing_it_imports_no_torch(self) -> None:
        """Plugins are imported while the Snakefile is parsed; torch takes seconds."""
        if self.method.__module__.rpartition(".")[2].startswith("test_"):
            pytest.skip("the method is defined in a test module")
        failed = _imports_without_torch(_modules(self.method))
        assert self.method.__module__ not in failed, failed[self.method.__module__]

    def test_has_a_card(self) -> None:
        """A README with the fixed title and headings, which names every setting."""
        card = self.card or Path(inspect.getfile(self.method)).parent / "README.md"
        assert card.exists(), f"there is no card {card}"
        problems = card_problems(card.read_text(encoding="utf-8"), self.method)
        assert not problems, f"{card}: {'; '.join(problems)}"

    # --- what its stage asks -----------------------------------------------------------------------------------------

    def test_stage(self, check: Any, tmp_path: Path) -> None:
        """One check of the method's stage."""
        if self.skip:
            pytest.skip(self.skip)
        folder, empty = tmp_path / "data", tmp_path / "empty"
        folder.mkdir()
        empty.mkdir()
        with toy_registered():
            check(Case(self.configured, self.spec, self.data_folder(folder), empty))


def card_problems(text: str, method: type[Method]) -> list[str]:
    """What a card lacks: its title, a heading in its place, a setting in the section on settings."""
    lines = text.splitlines()
    title = f"# {method.stage}: {method.name}"
    problems = [] if lines and lines[0] == title else [f"the first line is not {title!r}"]
    found = tuple(line.removeprefix("## ") for line in lines if line.startswith("## "))
    if found != HEADINGS:
        problems.append(f"the headings are {found}, not {HEADINGS}")
    table = text.partition("## Settings")[2].partition("\n## ")[0]
    problems += [
        f"the section on settings lacks `{name}`" for name in method.Settings.model_fields if f"`{name}`" not in table
    ]
    return problems


_PROBE = """
import importlib, importlib.util, json, sys
sys.modules["torch"] = None  # importing it now fails
failed = {}
for name, file in json.loads(sys.argv[1]):
    try:
        try:
            importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name is None or not name.startswith(error.name):
                raise
            package = [file.rpartition("/")[0]] if file.endswith("__init__.py") else None
            spec = importlib.util.spec_from_file_location(name, file, submodule_search_locations=package)
            sys.modules[name] = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(sys.modules[name])
    except Exception as error:
        failed[name] = f"{type(error).__name__}: {error}"
print(json.dumps(failed))
"""


def _modules(method: type[Method]) -> tuple[tuple[str, str], ...]:
    """(name, file) of the modules of all registered methods and of this one: they are probed in one process."""
    methods = {*registry().methods.values(), method}
    return tuple(sorted({(each.__module__, Path(inspect.getfile(each)).as_posix()) for each in methods}))


@lru_cache(maxsize=8)
def _imports_without_torch(modules: tuple[tuple[str, str], ...]) -> dict[str, str]:
    """By module, why its import failed in a process in which torch cannot be imported."""
    command = [sys.executable, "-c", _PROBE, json.dumps(modules)]
    answer = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    failed: dict[str, str] = json.loads(answer.splitlines()[-1])
    return failed
