"""The config file: one strict model, profiles laid over it, everything checked against the plugins' own settings."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from prunery.contract import BASES, Method
from prunery.errors import PruneryError, unknown
from prunery.recipe import NAME, Recipe, expand, parse, parse_seeds
from prunery.registry import Registry

Profile = Literal["smoke", "cpu", "paper"]
SPELLED_OUT = ("data", "model")
"""Stages whose methods a base may name with their main argument: `timm:resnet18`."""


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Variant(_Strict):
    """A named choice of method and settings."""

    method: str
    settings: dict[str, Any] = {}


class Base(_Strict):
    """How a network is born: `data`, `model` and `train` name variants, or methods with their defaults.

    `data` and `model` may also name a method with its main argument: `timm:resnet18`, `hf:NAME`.
    """

    data: str
    model: str
    train: str
    seeds: str | int = "0-4"


class Measures(_Strict):
    """Which variants of each measure are taken, and where."""

    evaluate: list[str] = Field(default=["standard"], description="in every folder of every recipe")
    bench: dict[str, list[str]] = Field(default={}, description="of the recipes listed under each variant")
    spectral_fit: list[str] = Field(default=[], description="on every dense network")
    calibrate: list[str] = Field(default=[], description="on every dense network")


Variants = dict[str, Variant]


class Study(_Strict):
    """A whole config file, its profile applied."""

    study: str = Field("default", pattern=f"^{NAME}$")
    title: str = ""
    profile: Profile = "cpu"
    data_folder: str | None = None
    plugins: list[str] = []
    claims: list[str] = []
    bases: dict[str, Base]
    recipes: list[str]
    measures: Measures = Measures()
    threads: dict[str, int] = {}
    data: Variants = {}
    model: Variants = {}
    train: Variants = {}
    prune: Variants = {}
    finetune: Variants = {}
    distill: Variants = {}
    quantize: Variants = {}
    calibrate: Variants = {}
    spectral_fit: Variants = {}
    evaluate: Variants = {}
    bench: Variants = {}

    def variants(self, stage: str) -> Variants:
        """The variants that the config defines for a stage."""
        found: Variants = getattr(self, stage)
        return found

    def method(self, registry: Registry, stage: str, name: str, amount: str | None = None) -> Method:
        """The configured method behind a variant's name; a method's own name stands for its defaults."""
        chosen = self.variants(stage).get(name) or self._undefined(registry, stage, name)
        number = None if amount is None else float(amount) if "." in amount else int(amount)
        try:
            return registry.configured(stage, chosen.method, chosen.settings, number)
        except PruneryError as error:
            raise PruneryError(f"{stage}.{name}: {error}") from error

    def _undefined(self, registry: Registry, stage: str, name: str) -> Variant:
        """What a name stands for that the config does not define: a method, or `method:argument` in a base."""
        method, colon, argument = name.partition(":")
        if stage not in SPELLED_OUT:
            method, colon = name, ""
        if (stage, method) not in registry.methods:
            known = {*self.variants(stage), *registry.names(stage)}
            raise PruneryError(unknown(f"{stage} variant", method, known) + registry.set_aside)
        if not colon:
            return Variant(method=method)
        field = registry.get(stage, method).Settings.argument
        if field is None:
            raise PruneryError(f"{stage} method {method!r} takes no argument: remove {colon + argument!r}")
        if not argument:
            raise PruneryError(f"{stage} {name!r}: the argument is missing: write {method}:<{field}>")
        return Variant(method=method, settings={field: argument})

    def all_recipes(self) -> list[Recipe]:
        """Every recipe of the config, short spellings written out, without repeats, in order."""
        return self.written_out(self.recipes)

    def written_out(self, texts: list[str]) -> list[Recipe]:
        """The recipes that these spellings stand for, without repeats, in order."""
        seeds = {name: str(base.seeds) for name, base in self.bases.items()}
        return list(dict.fromkeys(parse(path, seeds) for text in texts for path in expand(text)))


def read_study(config: Mapping[str, Any]) -> Study:
    """Validate a config dictionary and lay its profile over it. Raises `PruneryError` naming the key."""
    profiles = dict(config.get("profiles") or {})
    known = get_args(Profile)
    odd = sorted(set(profiles) - set(known))
    if odd:
        raise PruneryError(f"profiles: {unknown('profile', odd[0], known)}")
    profile = str(config.get("profile", "cpu"))
    if profile not in profiles and (profiles or profile not in known):
        raise PruneryError(unknown("profile", profile, profiles or known))
    plain = {key: value for key, value in config.items() if key != "profiles"}
    try:
        return Study.model_validate(overlay(plain, profiles.get(profile) or {}) | {"profile": profile})
    except ValidationError as error:
        raise PruneryError(_first_line(error)) from error


def overlay(config: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """`above` laid over `config`: mappings merge key by key, everything else is replaced."""
    merged = dict(config)
    for key, value in above.items():
        old = merged.get(key)
        merged[key] = overlay(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return merged


def _first_line(error: ValidationError) -> str:
    first = error.errors()[0]
    where = ".".join(map(str, first["loc"])) or "config"
    if first["type"] == "extra_forbidden":
        models: dict[str, type[BaseModel]] = {"bases": Base, "measures": Measures}
        head, tail = str(first["loc"][0]), str(first["loc"][-1])
        fields = Study.model_fields if len(first["loc"]) == 1 else models.get(head, Variant).model_fields
        return f"config, {where}: {unknown('key', tail, fields)}"
    if first["type"] == "missing":
        return f"config: the key {where} is missing"
    return f"config, {where}: {first['msg']} (given: {first['input']!r})"


def check_study(study: Study, registry: Registry) -> list[Recipe]:
    """Check every variant, used or not, every base, recipe and measure. Returns the recipes."""
    for stage in BASES:
        if stage == "backend":
            continue
        for name in study.variants(stage):
            if not re.fullmatch(NAME, name):
                raise PruneryError(f"{stage}.{name}: a variant's name is letters, digits, '_', '.', '-'")
            study.method(registry, stage, name)
    for name in study.threads:
        if name not in BASES:
            raise PruneryError(f"threads: {unknown('stage', name, BASES)}")
    for name, base in study.bases.items():
        _check_base(study, registry, name, base)
    recipes = study.all_recipes()
    benched = [recipe for texts in study.measures.bench.values() for recipe in study.written_out(texts)]
    for recipe in dict.fromkeys([*recipes, *benched]):
        for step in recipe.steps:
            _named(f"recipe {recipe}", study.method, registry, step.stage, step.variant, step.amount)
    for stage, names in study.measures:
        for name in names:
            _named(f"measures.{stage}", study.method, registry, stage, name)
    return recipes


def _check_base(study: Study, registry: Registry, name: str, base: Base) -> None:
    if not re.fullmatch(NAME, name):
        raise PruneryError(f"bases.{name}: a base's name is letters, digits, '_', '.', '-'")
    _named(f"bases.{name}", parse_seeds, base.seeds)
    for stage in ("data", "model", "train"):
        _named(f"bases.{name}", study.method, registry, stage, getattr(base, stage))


def _named(where: str, check: Any, *arguments: Any) -> None:
    """Run a check; a complaint is told with the place in the config it comes from."""
    try:
        check(*arguments)
    except PruneryError as error:
        raise PruneryError(f"{where}: {error}") from error
