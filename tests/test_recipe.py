"""Recipes: short spellings, parts, and what is refused."""

import pytest

from prunery.errors import PruneryError
from prunery.recipe import Recipe, Step, expand, parse, parse_seeds

SEEDS = {"net": "0-4", "other-net": "7"}


def test_braces_multiply():
    assert expand("net/prune={a,b}@{0.5,0.9}/finetune=short") == [
        "net/prune=a@0.5/finetune=short",
        "net/prune=a@0.9/finetune=short",
        "net/prune=b@0.5/finetune=short",
        "net/prune=b@0.9/finetune=short",
    ]


def test_cycle_over_a_range_repeats_its_segments_without_rounding_errors():
    (path,) = expand("net/(prune=seb@0.05..0.70:0.05/finetune=short)")
    amounts = [step.amount for step in parse(path, SEEDS).steps if step.stage == "prune"]
    assert amounts == [f"{value / 100:.2f}" for value in range(5, 75, 5)]


def test_counted_cycle_and_braces_together():
    assert expand("net/(prune={a,b}@0.2/finetune=s)*2") == [
        "net/prune=a@0.2/finetune=s/prune=a@0.2/finetune=s",
        "net/prune=b@0.2/finetune=s/prune=b@0.2/finetune=s",
    ]


def test_a_path_is_its_recipe_and_back():
    recipe = parse("net/prune=seb@0.5/quantize=int8", SEEDS)
    assert recipe == Recipe("net", (0, 4), (Step("prune", "seb", "0.5"), Step("quantize", "int8")))
    assert str(recipe) == "net/seeds=0-4/prune=seb@0.5/quantize=int8"
    assert parse(str(recipe), SEEDS) == recipe
    assert [str(prefix) for prefix in recipe.prefixes()] == [
        "net/seeds=0-4",
        "net/seeds=0-4/prune=seb@0.5",
        "net/seeds=0-4/prune=seb@0.5/quantize=int8",
    ]


def test_seeds():
    assert parse_seeds("3-3") == parse_seeds(3) == parse_seeds("3") == (3, 3)
    with pytest.raises(PruneryError, match="0-4"):
        parse_seeds("4-2")


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("nett/prune=a", "did you mean 'net'"),
        ("net/prun=a", "did you mean 'prune'"),
        ("net/evaluate=standard", "is a measure"),
        ("net/train=adam", "part of a base"),
        ("net/prune", "is no step"),
        ("net/prune=a@x", "is no step"),
    ],
)
def test_bad_paths_say_what_is_wrong(path, says):
    with pytest.raises(PruneryError, match=says):
        parse(path, SEEDS)


@pytest.mark.parametrize("text", ["net/(prune=a)", "net/(prune=a@0.5..0.1:0.1)", "net/(prune=a@0.1..0.5:0)"])
def test_bad_cycles_are_refused(text):
    with pytest.raises(PruneryError):
        expand(text)
