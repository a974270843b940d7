"""What a class must be to be registered as a method; a plugin that hands over anything else is set aside."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from prunery.composition import check_rules
from prunery.contract import BASES, Method
from prunery.errors import PruneryError, shown, unknown
from prunery.method import CHANGES, Settings
from prunery.recipe import LONGEST_NAME, NAME

TEXTS = ("imports", "versions", "follows", "conflicts", "changes")
"""Attributes that are tuples of texts; a forgotten comma makes a text of them, which would be read letter by letter."""


@contextmanager
def told_of(plugin: str) -> Iterator[None]:
    """A complaint raised inside is told with the plugin's name."""
    try:
        yield
    except PruneryError as error:
        raise PruneryError(f"plugin {plugin}: {error}") from error


def check_class(method: Any) -> None:
    """Check that `method` keeps to the contract. Raises `PruneryError` naming the class and what is wrong with it."""
    _check_place(method)
    try:
        _check_attributes(method)
        _check_settings(method.Settings)
        check_rules(method)
    except PruneryError as error:
        raise PruneryError(f"{method.__qualname__}: {error}") from error


def _check_place(method: Any) -> None:
    if not inspect.isclass(method):
        kind = type(method).__name__
        raise PruneryError(f"register_methods returned an object of type {kind} among its classes: return classes only")
    stage, name, called = getattr(method, "stage", None), getattr(method, "name", None), method.__qualname__
    if stage not in BASES or not name:
        raise PruneryError(f"{called} states no valid stage and name (stages: {', '.join(BASES)})")
    if not isinstance(name, str) or not re.fullmatch(NAME, name) or len(name) > LONGEST_NAME:
        raise PruneryError(f"{called}: its name {shown(name)} should be letters, digits, '_', '.' and '-'")
    if not issubclass(method, BASES[stage]):
        raise PruneryError(f"{called} is registered for {stage} but is no {BASES[stage].__name__}")


def _check_attributes(method: type[Method]) -> None:
    if inspect.isabstract(method):
        lacking = ", ".join(sorted(method.__abstractmethods__))
        contract = next(base for base in method.__mro__ if base.__module__.startswith("prunery."))
        raise PruneryError(f"it lacks {lacking}: define what {contract.__name__} asks for")
    for name in TEXTS:
        value = getattr(method, name)
        if not isinstance(value, tuple) or not all(isinstance(each, str) for each in value):
            raise PruneryError(f"its {name} should be a tuple of texts, such as ('one',), not {shown(value)}")
    for change in method.changes:
        if change not in CHANGES:
            raise PruneryError(f"changes: {unknown('change', change, CHANGES)}")


def _check_settings(settings: Any) -> None:
    if not (isinstance(settings, type) and issubclass(settings, Settings)):
        raise PruneryError(f"its Settings should be a subclass of prunery.Settings, not {shown(settings)}")
    for role in ("amount", "argument"):
        field = getattr(settings, role)
        if field is not None and field not in settings.model_fields:
            raise PruneryError(f"{role}: {unknown('setting', str(field), settings.model_fields)}")
