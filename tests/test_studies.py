"""Every study's config is valid at every profile, and its claims speak of what the study makes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from prunery.checking import check_profiles
from prunery.config import Study, read_profiles
from prunery.data import Spec
from prunery.registry import registry
from prunery.reporting.claims import Claim, read_claims

ROOT = Path(__file__).parents[1]
CONFIGS = [ROOT / "config.yaml", *sorted((ROOT / "studies").glob("*/config.yaml"))]


def profiles(path: Path) -> dict[str, Study]:
    return read_profiles(yaml.safe_load(path.read_text()))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.parent.name)
def test_it_is_valid_at_every_profile(path):
    assert check_profiles(profiles(path), registry())


def asked(claim: Claim) -> Iterator[tuple[str, str]]:
    """(base, recipe) of all evaluations or times that a claim speaks of."""
    test: Any = claim.test
    if hasattr(test, "pairs") and hasattr(test, "metric"):
        for base_a, recipe_a, base_b, recipe_b in test.pairs():
            yield from ((base_a, recipe_a), (base_b, recipe_b))
    elif hasattr(test, "of"):
        yield from ((base, recipe) for base in test.of.base for recipe in test.of.recipes)


def quantities(claim: Claim) -> Iterator[str]:
    """The quantities that a claim speaks of."""
    test: Any = claim.test
    if test.kind == "quantity":
        yield from test.quantity
    elif test.kind == "quantities":
        yield from (*test.a, *test.b)


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.parent.name)
def test_claims_speak_of_what_is_made(path):
    for name, study in profiles(path).items():
        made = {(recipe.base, "/".join(map(str, recipe.steps))) for recipe in study.all_recipes()}
        made |= {(base, steps[:end]) for base, steps in made for end, sign in enumerate(steps) if sign == "/"}
        made |= {(base, "dense") for base, _ in made}
        for claim in read_claims([ROOT / claims for claims in study.claims]):
            if name == "smoke" or name not in claim.scale:
                continue  # a smoke run makes too little for most claims, which are then not testable
            assert not set(asked(claim)) - made, f"{name}, {claim.id}"
            for quantity in quantities(claim):
                variant = claim.test.analyse
                assert variant in study.measures.analyse, f"{name}, {claim.id}"
                settings, family = study.analyse[variant].settings, quantity.partition("/")[0]
                named = [settings.get(kind, {}) for kind in ("families", "recipes", "sweeps", "layers")]
                assert any(family in each for each in named), f"{name}, {claim.id}: {quantity}"


def test_shares_of_vgg11_are_of_its_parameters():
    vgg = registry().configured("model", "vgg", {"depth": 11})
    dense = sum(parameter.numel() for parameter in vgg.build(Spec("image", (3, 32, 32), 10)).parameters())
    config = yaml.safe_load((ROOT / "studies/vgg11/config.yaml").read_text())
    (table,) = (
        each["settings"]["recipes"]["table-3"] for each in config["analyse"].values() if each["method"] == "tables"
    )
    column = table["columns"]["Parameters removed, %"]
    assert dense == table["paper"]["baseline"]["Parameters"] == 9756426
    assert column["factor"] * (0.19 * dense - dense) == pytest.approx(81.0)
    assert table["rows"][column["minus"]] == "vgg11"
    assert table["paper"]["structured, 70 %"]["Parameters removed, %"] == 81.0
