"""The whole config against the plugins: every name and setting, used or not, before any job starts."""

from __future__ import annotations

import re

from prunery.composition import check_order
from prunery.config import Base, Study, told_as
from prunery.contract import BASES, Method
from prunery.errors import PruneryError, unknown
from prunery.recipe import NAME, Recipe, parse_seeds
from prunery.registry import Registry

RULES = (*(stage for stage in BASES if stage not in ("model", "backend")), "report")
"""The rules whose jobs `threads` may set."""


def check_study(study: Study, registry: Registry) -> list[Recipe]:
    """Check every variant, base, recipe and measure. Returns the recipes, those that are only benched included.

    Raises `PruneryError` with the place in the config and the nearest valid name.
    """
    for name in study.threads:
        if name not in RULES:
            raise PruneryError(f"threads: {unknown('rule', name, RULES)}")
    for stage in BASES:
        for name in {} if stage == "backend" else study.variants(stage):
            _check_name(f"{stage}.{name}", name)
            _check_method(study, registry, stage, name)
    for name, base in study.bases.items():
        _check_base(study, registry, name, base)
    for stage, names in study.measures:
        for name in names:
            with told_as(f"measures.{stage}"):
                _check_method(study, registry, stage, name)
    benched = [text for texts in study.measures.bench.values() for text in texts]
    recipes = study.written_out([*study.recipes, *benched])
    for recipe in recipes:
        _check_recipe(study, registry, recipe)
    _check_floors(study, recipes)
    return recipes


def _check_floors(study: Study, recipes: list[Recipe]) -> None:
    evaluated = {str(prefix) for recipe in recipes for prefix in recipe.prefixes()}
    for text in study.floors:
        with told_as("floors"):
            for recipe in map(str, study.written_out([text])):
                if recipe not in evaluated:
                    raise PruneryError(unknown("recipe", recipe, evaluated))


def _check_name(where: str, name: str) -> None:
    if not re.fullmatch(NAME, name):
        raise PruneryError(f"{where}: a name is letters, digits, '_', '.', '-'")


def _check_base(study: Study, registry: Registry, name: str, base: Base) -> None:
    _check_name(f"bases.{name}", name)
    with told_as(f"bases.{name}"):
        parse_seeds(base.seeds)
        for stage in ("data", "model", "train"):
            _check_method(study, registry, stage, getattr(base, stage))


def _check_recipe(study: Study, registry: Registry, recipe: Recipe) -> None:
    with told_as(f"recipe {recipe}"):
        check_order([_check_method(study, registry, step.stage, step.variant, step.amount) for step in recipe.steps])


def _check_method(study: Study, registry: Registry, stage: str, name: str, amount: str | None = None) -> Method:
    """The method behind a variant, checked with what its settings name: measurements, other methods, a teacher."""
    method = study.method(registry, stage, name, amount)
    with told_as(f"{stage}.{name}"):
        for need in method.needs():
            kind, _, variant = need.partition("=")
            study.method(registry, kind, variant)
        for used in method.uses():
            registry.get(*used)
        _check_teacher(study, registry, method)
    return method


def _check_teacher(study: Study, registry: Registry, method: Method) -> None:
    teacher = getattr(method.settings, "teacher", "dense") if method.stage == "distill" else "dense"
    if teacher == "dense":
        return
    with told_as("teacher"):
        taught = study.written_out([teacher])
        if len(taught) != 1:
            raise PruneryError(f"{teacher!r} stands for {len(taught)} recipes: name one")
        for step in taught[0].steps:
            study.method(registry, step.stage, step.variant, step.amount)
