"""The config file: one strict model, profiles laid over it, everything checked against the plugins' own settings."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from fnmatch import fnmatchcase
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from prunery.contract import Method
from prunery.errors import PruneryError, complaint, cut, shown, unknown
from prunery.grids import Grid, Seeds, written_out
from prunery.recipe import LONGEST_NAME, NAME, Recipe, expand, parse
from prunery.registry import Registry

Profile = Literal["smoke", "cpu", "paper"]
SPELLED_OUT = ("data", "model")
"""Stages whose methods a base may name with their main argument: `timm:resnet18`."""


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


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
    seeds: Seeds = "0-4"


class Measures(_Strict):
    """Which variants of each measure are taken, and where."""

    evaluate: list[str] = Field(default=["standard"], description="in every folder of every recipe")
    bench: dict[str, list[str]] = Field(default={}, description="of the recipes listed under each variant")
    spectral_fit: list[str] = Field(default=[], description="on every dense network")
    calibrate: list[str] = Field(default=[], description="on every dense network")
    analyse: list[str] = Field(default=[], description="of the whole study")


Variants = dict[str, Variant]


class DataVariant(Variant):
    """A choice of data; an optional one whose files are missing leaves out the recipes that begin with it."""

    optional: bool = False


class _Grids(_Strict):
    grids: dict[str, Grid]


class Study(_Strict):
    """A whole config file, its profile applied."""

    study: str = Field("default", pattern=f"^{NAME}$", max_length=LONGEST_NAME)
    title: str = ""
    profile: Profile = "cpu"
    data_folder: str | None = None
    plugins: list[str] = []
    claims: list[str] = []
    bases: dict[str, Base]
    grids: dict[str, Grid] = Field(default={}, description="written out as bases and models when the config is read")
    recipes: list[str]
    floors: dict[str, Annotated[float, Field(ge=0, le=1)]] = {}
    measures: Measures = Measures()
    threads: dict[str, Annotated[int, Field(ge=1)]] = {}
    data: dict[str, DataVariant] = {}
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
    analyse: Variants = {}

    def variants(self, stage: str) -> Variants:
        """The variants that the config defines for a stage."""
        found: Variants = getattr(self, stage)
        return found

    def method(self, registry: Registry, stage: str, name: str, amount: str | None = None) -> Method:
        """The configured method behind a variant's name; a method's own name stands for its defaults."""
        chosen = self.variants(stage).get(name) or self._undefined(registry, stage, name)
        number = None if amount is None else float(amount) if "." in amount else int(amount)
        with told_as(f"{stage}.{name}"):
            return registry.configured(stage, chosen.method, chosen.settings, number)

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
        found: dict[Recipe, None] = {}
        for text in texts:
            with told_as(f"recipe {cut(text)}"):
                found |= dict.fromkeys(_written_out(text, seeds))
        return list(found)


def _written_out(text: str, seeds: dict[str, str]) -> list[Recipe]:
    return [parse(path, seeds) for spelled in expand(text) for path in _of_bases(spelled, seeds)]


def _of_bases(path: str, bases: Iterable[str]) -> list[str]:
    """A recipe whose base is a pattern (`mlp-*`), for every base that it matches."""
    pattern, slash, steps = path.partition("/")
    if not set(pattern) & set("*?"):
        return [path]
    found = [base + slash + steps for base in bases if fnmatchcase(base, pattern)]
    if not found:
        raise PruneryError(f"no base is called like {shown(pattern)}: {cut(', '.join(bases))}")
    return found


@contextmanager
def told_as(where: str) -> Iterator[None]:
    """A complaint raised inside is told with the place in the config it comes from."""
    try:
        yield
    except PruneryError as error:
        raise PruneryError(f"{where}: {error}") from error


def read_study(config: Mapping[str, Any]) -> Study:
    """The study of the chosen profile. Raises `PruneryError` as `read_profiles` does."""
    return next(iter(read_profiles(config).values()))


def read_profiles(config: Mapping[str, Any]) -> dict[str, Study]:
    """Validate a config dictionary with each of its profiles laid over it; the chosen one comes first.

    Raises `PruneryError` naming the key.
    """
    profiles, known = config.get("profiles") or {}, get_args(Profile)
    _check_profiles(profiles, known)
    chosen = str(config.get("profile") or "cpu")
    if chosen not in profiles and (profiles or chosen not in known):
        raise PruneryError(unknown("profile", chosen, profiles or known))
    plain = {key: value for key, value in config.items() if key != "profiles"}
    studies = {}
    for name in dict.fromkeys((chosen, *profiles)):
        above = profiles.get(name) or {}
        with told_as(f"with profile {name}") if above else nullcontext():
            studies[name] = _validated(overlay(plain, above) | {"profile": name})
    return studies


def _check_profiles(profiles: Any, known: tuple[str, ...]) -> None:
    if not isinstance(profiles, Mapping):
        raise PruneryError(f"config, profiles: write a mapping from {', '.join(known)} to the keys that differ")
    for name, keys in profiles.items():
        if name not in known:
            raise PruneryError(f"profiles: {unknown('profile', str(name), known)}")
        if not isinstance(keys or {}, Mapping):
            raise PruneryError(f"config, profiles.{name}: write the keys that differ from the rest of the config")
        for key in ("profile", "profiles"):
            if key in (keys or {}):
                raise PruneryError(f"config, profiles.{name}: the key {key} has no place in a profile: remove it")


def _validated(config: Mapping[str, Any]) -> Study:
    try:
        grids = _Grids.model_validate({"grids": config.get("grids") or {}}).grids
        return Study.model_validate(written_out(config, grids) if grids else config)
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
    place = list(first["loc"])
    if place[2:3] == ["over"]:
        del place[4:5]  # how the values of a grid are spelled is no key
    where = ".".join(map(str, place)) or "config"
    if first["type"] == "extra_forbidden":
        models: dict[str, type[BaseModel]] = {"bases": Base, "measures": Measures, "grids": Grid}
        head, tail = str(first["loc"][0]), str(first["loc"][-1])
        fields = Study.model_fields if len(first["loc"]) == 1 else models.get(head, Variant).model_fields
        return f"config, {where}: {unknown('key', tail, fields)}"
    if first["type"] == "missing":
        return f"config: the key {where} is missing"
    return f"config, {where}: {complaint(first)}"
