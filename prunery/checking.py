"""The whole config against the plugins: every name and setting, used or not, before any job starts."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import nullcontext
from typing import Any

from prunery.composition import check_order
from prunery.config import Base, Study, told_as
from prunery.contract import AUXILIARY, BASES, MEASURES, Method
from prunery.errors import PruneryError, cut, unknown
from prunery.needs import parse_need
from prunery.recipe import LONGEST_NAME, NAME, Recipe, Step, parse_seeds
from prunery.registry import Registry

RULES = (*(stage for stage in BASES if stage not in ("model", *AUXILIARY)), "report")
"""The rules whose jobs `threads` may set."""


def check_profiles(studies: Mapping[str, Study], registry: Registry) -> list[Recipe]:
    """Check the study of every profile, used or not. Returns the recipes of the first. Raises as `check_study` does."""
    found: list[list[Recipe]] = []
    for name, study in studies.items():
        with told_as(f"with profile {name}") if found else nullcontext():
            found.append(check_study(study, registry))
    return found[0]


def check_study(study: Study, registry: Registry) -> list[Recipe]:
    """Check every variant, base, recipe and measure. Returns the recipes, those that are only benched included.

    Raises `PruneryError` with the place in the config and the nearest valid name.
    """
    for name in study.threads:
        if name not in RULES:
            raise PruneryError(f"threads: {unknown('rule', name, RULES)}")
    for stage in BASES:
        for name in {} if stage in AUXILIARY else study.variants(stage):
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
        check_recipe(study, registry, recipe)
    _check_floors(study, recipes)
    for name in study.measures.analyse:
        with told_as(f"measures.analyse: {name}"):
            method = study.method(registry, "analyse", name)
            analysed(study, method, recipes)
            measured(study, registry, method, recipes)
    return recipes


def analysed(study: Study, method: Any, recipes: list[Recipe]) -> list[Recipe]:
    """The recipes that an analysis reads. Raises `PruneryError` naming one that is not among the study's."""
    if not study.measures.evaluate:
        raise PruneryError("an analysis reads evaluations: name a variant under measures.evaluate")
    evaluated = {prefix for recipe in recipes for prefix in recipe.prefixes()}
    found = study.written_out(list(method.recipes()))
    for recipe in found:
        if recipe not in evaluated:
            raise PruneryError(f"it reads {cut(str(recipe))}, which the study does not make: list it under recipes")
    return found


def measured(study: Study, registry: Registry, method: Any, recipes: list[Recipe]) -> list[tuple[Recipe, str, str]]:
    """Recipe, stage and variant of the other measures that an analysis reads; the same for one that is no measure."""
    evaluated = {prefix for recipe in recipes for prefix in recipe.prefixes()}
    found = []
    for text in method.measures():
        spelled, _, measure = text.rpartition("/")
        stage, _, variant = measure.partition("=")
        if stage not in MEASURES or not variant:
            raise PruneryError(f"it reads {cut(text)}, which is no measure: write recipe/stage=variant")
        study.method(registry, stage, variant)
        for recipe in study.written_out([spelled]):
            if recipe not in evaluated:
                raise PruneryError(f"it reads {cut(text)}, whose recipe the study does not make: list it under recipes")
            found.append((recipe, stage, variant))
    return found


def _check_floors(study: Study, recipes: list[Recipe]) -> None:
    evaluated = {str(prefix) for recipe in recipes for prefix in recipe.prefixes()}
    for text in study.floors:
        with told_as("floors"):
            for recipe in map(str, study.written_out([text])):
                if recipe not in evaluated:
                    raise PruneryError(unknown("recipe", recipe, evaluated))


def _check_name(where: str, name: str) -> None:
    if not re.fullmatch(NAME, name) or len(name) > LONGEST_NAME:
        rule = f"letters, digits, '_', '.' and '-', at most {LONGEST_NAME}, and begins with a letter or digit"
        raise PruneryError(f"{cut(where)}: a name is made of {rule}: rename it")


def _check_base(study: Study, registry: Registry, name: str, base: Base) -> None:
    _check_name(f"bases.{name}", name)
    with told_as(f"bases.{name}"):
        parse_seeds(base.seeds)
        for stage in ("data", "model", "train"):
            _check_method(study, registry, stage, getattr(base, stage))


def check_recipe(study: Study, registry: Registry, recipe: Recipe) -> None:
    """Check the steps of a recipe and their order. Raises `PruneryError` naming the recipe."""
    with told_as(f"recipe {cut(str(recipe))}"):
        _check_order(study, registry, recipe)


def _check_order(study: Study, registry: Registry, recipe: Recipe, students: tuple[str, ...] = ()) -> None:
    trained = study.method(registry, "train", study.bases[recipe.base].train)
    check_order([trained, *(_check_step(study, registry, step, students) for step in recipe.steps)])


def _check_step(study: Study, registry: Registry, step: Step, students: tuple[str, ...] = ()) -> Method:
    return _check_method(study, registry, step.stage, step.variant, step.amount, students)


def _check_method(
    study: Study, registry: Registry, stage: str, name: str, amount: str | None = None, students: tuple[str, ...] = ()
) -> Method:
    """The method behind a variant, checked with what its settings name: measurements, other methods, a teacher.

    `students` are the steps that learn from the recipe it stands in.
    """
    method = study.method(registry, stage, name, amount)
    with told_as(f"{stage}.{name}"):
        for need in method.needs():
            found = parse_need(need)
            study.method(registry, found.stage, found.variant)
        for used in method.uses():
            registry.get(*used)
        _check_teacher(study, registry, method, (*students, str(Step(stage, name, amount))))
    return method


def _check_teacher(study: Study, registry: Registry, method: Method, students: tuple[str, ...]) -> None:
    """Check the recipe of a teacher, its own teachers included, and that none of its `students` teaches it."""
    teacher = _teacher_of(method)
    if teacher is None:
        return
    with told_as("teacher"):
        taught = study.written_out([teacher])
        if len(taught) != 1:
            raise PruneryError(f"{teacher!r} stands for {len(taught)} recipes: name one")
        for step in taught[0].steps:
            if str(step) in students:
                raise PruneryError(f"{teacher!r} is made by its own student, {step}: name another teacher")
        _check_order(study, registry, taught[0], students)


def _teacher_of(method: Method) -> str | None:
    """The recipe a student learns from or is compared with; none where that is the recipe's own dense network."""
    teacher: str | None = getattr(method.settings, "teacher", None) if method.stage == "distill" else None
    return None if teacher == "dense" else teacher
