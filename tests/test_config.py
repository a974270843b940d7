"""The config: profiles, strictness, and the names it offers."""

import re
from pathlib import Path

import pytest
from pydantic import Field

from prunery import DataSource, LayerPruner, Learner, Settings
from prunery.checking import check_study
from prunery.config import overlay, read_study
from prunery.contract import Architecture, Evaluator
from prunery.errors import PruneryError
from prunery.registry import Registry
from prunery.registry import registry as installed
from prunery.workflow import Workflow

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
    needs = {"needs": lambda self: ("calibrate=gone",)}
    registry.methods["prune", "needy"] = type("Needy", (LayerPruner,), {"stage": "prune", "name": "needy", **needs})
    picky = {"stage": "prune", "name": "picky", "follows": ("distill",)}
    registry.methods["prune", "picky"] = type("Picky", (LayerPruner,), picky)
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
        ({"profiles": ["smoke"]}, "profiles"),
        ({"profiles": {"smoke": ["net"], "cpu": {}}}, "profiles.smoke"),
        ({"profiles": {"smoke": {"trian": {}}, "cpu": {}}}, "did you mean 'train'"),
        ({"threads": {"train": 0}}, "threads.train"),
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
        ({"threads": {"trian": 2}}, "did you mean 'train'"),
        ({"recipes": ["net//prune=half"]}, "recipe net//prune=half: "),
        ({"bases": {"net": {"data": "toy", "model": "toy", "train": "toy", "seeds": 2**64}}}, "bases.net: seeds"),
        ({"recipes": ["net/(prune=half@0.5)*20"]}, "20 times"),
        ({"floors": {"net/prune=half@0.5": 0.9}}, "floors: unknown recipe"),
        ({"recipes": ["net/prune=picky"]}, "prune=picky must stand after distill: add that step"),
        ({"prune": {"needy": {"method": "needy"}}}, "unknown calibrate variant 'gone'"),
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


class Named(Settings):
    argument = "name"
    name: str = Field("small", description="which network")


def _registry_with_named_models() -> Registry:
    registry = _registry()
    registry.methods["model", "zoo"] = type("Zoo", (Architecture,), {"name": "zoo", "Settings": Named})
    registry.methods["model", "zoo"].__abstractmethods__ = frozenset()
    return registry


@pytest.mark.parametrize("name", ["resnet18", "org/net-v1.5", "/srv/nets/bert", "a:b"])
def test_a_base_may_spell_a_method_with_its_argument(name):
    study = read_study({**MINIMAL, "bases": {"net": {"data": "toy", "model": f"zoo:{name}", "train": "toy"}}})
    check_study(study, _registry_with_named_models())
    method = study.method(_registry_with_named_models(), "model", f"zoo:{name}")
    assert (method.name, method.settings.name) == ("zoo", name)


@pytest.mark.parametrize(
    ("base", "says"),
    [
        ({"model": "zoo:"}, "bases.net: model 'zoo:': the argument is missing: write zoo:<name>"),
        ({"model": "toy:big"}, "bases.net: model method 'toy' takes no argument: remove ':big'"),
        ({"model": "zooo:big"}, "unknown model variant 'zooo': did you mean 'zoo'?"),
        ({"train": "toy:big"}, "unknown train variant 'toy:big': did you mean 'toy'?"),
    ],
)
def test_a_wrong_spelling_of_an_argument_is_named(base, says):
    study = read_study({**MINIMAL, "bases": {"net": {"data": "toy", "model": "toy", "train": "toy", **base}}})
    with pytest.raises(PruneryError) as caught:
        check_study(study, _registry_with_named_models())
    assert says in str(caught.value)


def test_the_built_in_methods_that_are_spelled_so():
    bases = {"net": {"data": "hf:org/set", "model": "timm:resnet18", "train": "supervised"}}
    study = read_study({"bases": bases, "recipes": ["net"]})
    check_study(study, installed())
    assert study.method(installed(), "data", "hf:org/set").settings.name == "org/set"
    assert study.method(installed(), "model", "timm:resnet18").settings.name == "resnet18"
    assert study.method(installed(), "model", "hf:/srv/bert").settings.name == "/srv/bert"


def test_a_method_whose_plugin_was_set_aside_is_told_with_the_reason():
    registry = _registry()
    registry.broken["mine"] = "import failed: SyntaxError: invalid syntax"
    with pytest.raises(PruneryError, match=r"unknown prune variant 'mine'.*plugin mine was set aside: import failed"):
        check_study(read_study({**MINIMAL, "recipes": ["net/prune=mine"]}), registry)


def test_a_data_set_with_any_name_has_a_file_of_its_own(tmp_path):
    bases = {
        name: {"data": f"hf:{data}", "model": "mlp", "train": "supervised"}
        for name, data in (("a", "org/set"), ("b", "org-set"))
    }
    workflow = Workflow({"study": "mine", "bases": bases, "recipes": ["a", "b"]}, tmp_path)
    files = [workflow.data({"base": base}) for base in bases]
    stems = [Path(file).name.removeprefix("data=").removesuffix(".safetensors") for file in files]
    assert len(set(files)) == 2
    assert all(Path(file).parent == Path("results/mine") for file in files)
    for stem, base in zip(stems, bases.values(), strict=True):
        assert re.fullmatch(workflow.constraints["data"], stem)
        assert workflow.data_names[stem] == base["data"]
        assert re.fullmatch(r"hf-org-set-[0-9a-f]{8}", stem)
    assert workflow.data_names["digits"] == "digits"
