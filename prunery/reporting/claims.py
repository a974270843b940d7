"""The language of claims: what a `claims.yaml` may say, checked strictly.

A claim names a test over the table of results, or over the quantities that an analysis of the study found. Results are
picked by `base` and `recipe` (short spellings of recipes are expanded as in the config); a claim about several of them
holds only if it holds for each.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, Field, ValidationError, field_validator

from prunery.config import Profile
from prunery.errors import PruneryError, unknown
from prunery.reporting.kinds import KINDS, Other, Pick, Strict, Test, listed
from prunery.yamlfile import read_yaml


class Paper(Strict):
    """What a paper gives for the same quantity; it has no part in the verdict."""

    where: str = Field(description="the table, figure or section")
    value: float | None = None


class Claim(Strict):
    """A statement in our words and the test that decides it."""

    id: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$")
    statement: str = Field(min_length=1)
    paper: Paper | None = None
    scale: list[Profile] = Field(["smoke", "cpu", "paper"], description="profiles at which it can be tested")
    test: Annotated[Test, Field(discriminator="kind")]

    _as_list = field_validator("scale", mode="before")(listed)


def read_claims(paths: Iterable[Path]) -> list[Claim]:
    """The claims of all files, in order. Raises `PruneryError` in one line naming file, claim and key."""
    claims: dict[str, Claim] = {}
    for path in paths:
        for number, raw in enumerate(_entries(path), start=1):
            name = raw.get("id", number) if isinstance(raw, dict) else number
            claim = _claim(f"{path}, claim {name}", raw)
            if claim.id in claims:
                raise PruneryError(f"{path}, claim {claim.id}: the id is used twice: rename one")
            claims[claim.id] = claim
    return list(claims.values())


def _entries(path: Path) -> list[Any]:
    entries = read_yaml(path)
    if not isinstance(entries or [], list):
        raise PruneryError(f"{path}: a claims file is a list of claims, each starting with '- id:'")
    return entries or []


def _claim(where: str, raw: Any) -> Claim:
    try:
        return Claim.model_validate(raw)
    except ValidationError as error:
        first = error.errors()[0]
        place = [str(part) for part in first["loc"]]
        key = ".".join(place) or "claim"
        if first["type"] == "extra_forbidden":
            raise PruneryError(f"{where}, {key}: {unknown('key', place[-1], _fields(place[:-1]))}") from error
        if first["type"] == "missing":
            raise PruneryError(f"{where}: the key {key} is missing") from error
        raise PruneryError(f"{where}, {key}: {first['msg']}") from error


def _fields(place: list[str]) -> Iterable[str]:
    """The keys that are known at a place in a claim."""
    if not place or place[-1] == "claim":
        return Claim.model_fields
    inner: dict[str, type[BaseModel]] = {"a": Pick, "b": Other, "of": Pick, "paper": Paper, **KINDS}
    return inner[place[-1]].model_fields
