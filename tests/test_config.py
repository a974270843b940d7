"""The config: profiles, strictness, and the names it offers."""

import pytest
from pydantic import Field

from prunery import DataSource, LayerPruner, Learner, Settings
from prunery.config import check_study, overlay, read_study
from prunery.contract import Architecture, Evaluator
from prunery.errors import PruneryError
from prunery.registry import Registry

MINIMAL = {"bases": {"net": {"data": "toy", "model": "toy", "train": "toy"}}, "recipes": ["net"]}


class Sparsity(Settings):
    amount = "sparsity"
    sparsity: float = Field(0.5, ge=0, lt=1, description="share of weights removed")


def _registry() -> Registry:
    registry = Registry()
    for stage, base in {"data": DataSource, "model": Architecture, "train": Learner, "evaluate": Evaluator}.items():
        name = "standard" if stage == "evaluate" else "toy"
        registry.methods[stage, name] = type("Toy", (base,), {"stage": stage, "name": name})
    registry.methods["prune", "half"] = type(
        "Half", (LayerPruner,), {"stage": "prune", "name": "half", "Settings": Sparsity, "mask": lambda *_: None}
    )
    for method in registry.methods.values():
        method.__abstractmethods__ = frozenset()
    return registry


def test_profiles_lie_over_the_config_key_by_key():
    study = read_study(
        {
            **MINIMAL,
            "train": {"short": {"method": "toy", "settings": {"epochs": 20, "batch": 100}}},
            "profile": "smoke",
            "profiles": {"smoke": {"train": {"short": {"settings": {"epochs": 1}}}, "recipes": []}},
        }
    )
    assert study.train["short"].settings == {"epochs": 1, "batch": 100}
    assert study.recipes == []
    assert study.profile == "smoke"


def test_overlay_leaves_its_arguments_alone():
    below, above = {"a": {"b": 1}}, {"a": {"c": 2}}
    assert overlay(below, above) == {"a": {"b": 1, "c": 2}}
    assert below == {"a": {"b": 1}}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"recipies": []}, "did you mean 'recipes'"),
        ({"bases": {"net": {"data": "toy", "model": "toy", "train": "toy", "sedes": 3}}}, "did you mean 'seeds'"),
        ({"bases": {"net": {"data": "toy", "model": "toy"}}}, "bases.net.train is missing"),
        ({"profile": "gpu"}, "unknown profile 'gpu'"),
        ({"profiles": {"big": {}}}, "unknown profile 'big'"),
        ({"recipes": "net"}, "recipes"),
        ({"study": "../up"}, "study"),
    ],
)
def test_a_wrong_key_or_type_is_one_line_that_names_it(change, says):
    with pytest.raises(PruneryError) as caught:
        read_study({**MINIMAL, **change})
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"recipes": ["net/prune=hafl@0.5"]}, "did you mean 'half'"),
        ({"recipes": ["net/prune=half@1.5"]}, "less than 1"),
        ({"recipes": ["nett"]}, "did you mean 'net'"),
        ({"prune": {"unused": {"method": "half", "settings": {"sparsty": 0.5}}}}, "did you mean 'sparsity'"),
        ({"prune": {"unused": {"method": "half", "settings": {"sparsity": "much"}}}}, "valid number"),
        ({"bases": {"net": {"data": "toys", "model": "toy", "train": "toy"}}}, "did you mean 'toy'"),
        ({"bases": {"net": {"data": "toy", "model": "toy", "train": "toy", "seeds": "5-1"}}}, "bases.net"),
        ({"measures": {"evaluate": ["standrad"]}}, "measures.evaluate"),
    ],
)
def test_every_name_and_setting_is_checked_used_or_not(change, says):
    with pytest.raises(PruneryError) as caught:
        check_study(read_study({**MINIMAL, **change}), _registry())
    assert says in str(caught.value)


def test_a_methods_own_name_stands_for_its_defaults():
    study = read_study({**MINIMAL, "recipes": ["net/prune=half", "net/prune=half@0.25"]})
    recipes = check_study(study, _registry())
    assert [str(recipe) for recipe in recipes] == ["net/seeds=0-4/prune=half", "net/seeds=0-4/prune=half@0.25"]
    assert study.method(_registry(), "prune", "half").settings.sparsity == 0.5
    assert study.method(_registry(), "prune", "half", "0.25").settings.sparsity == 0.25
