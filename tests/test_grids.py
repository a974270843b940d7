"""Grids of bases, and recipes for all bases of a pattern."""

import pytest

from prunery.config import read_study
from prunery.errors import PruneryError
from prunery.grids import Grid, batches, members

GRID = {"data": "digits", "train": "supervised", "method": "mlp"}
SWEEP = {
    "study": "sweep",
    "bases": {"net": {"data": "digits", "model": "mlp", "train": "supervised"}},
    "grids": {
        "mlp-{depth}x{width}": {
            **GRID,
            "seeds": 7,
            "settings": {"std": 0.1},
            "over": {"depth": [1, 2], "width": [5, 9]},
        }
    },
    "recipes": ["mlp-?x9/prune=magnitude@{0.5,0.9}", "net"],
}


def test_a_grid_is_its_bases_and_models():
    study = read_study(SWEEP)
    assert list(study.bases) == ["net", "mlp-1x5", "mlp-1x9", "mlp-2x5", "mlp-2x9"]
    assert study.model["mlp-2x9"].settings == {"std": 0.1, "depth": 2, "width": 9}
    assert (study.bases["mlp-2x9"].model, study.bases["mlp-2x9"].seeds) == ("mlp-2x9", "7")
    assert study.bases["net"].seeds == "0-4"


def test_a_pattern_stands_for_the_bases_it_matches():
    assert list(map(str, read_study(SWEEP).all_recipes())) == [
        "mlp-1x9/seeds=7-7/prune=magnitude@0.5",
        "mlp-2x9/seeds=7-7/prune=magnitude@0.5",
        "mlp-1x9/seeds=7-7/prune=magnitude@0.9",
        "mlp-2x9/seeds=7-7/prune=magnitude@0.9",
        "net/seeds=0-4",
    ]


def test_the_480_shapes_of_a_sweep_are_one_entry():
    widths = [1, 2, 3, 5, 10, 20, 30, 50, 100, 200, 500, 1000]
    shapes = {"each": ["increase", "decrease", "equal"], "times": [0, 1, 2, 3]}
    grid = Grid(**GRID, over={"width": widths, "shape": shapes}, together=["shape"])
    found = members("mlp-{width}-{shape}", grid)
    assert len(found) == grid.count() == 480
    assert [sum(len(each["shape"]) == depth - 1 for each in found.values()) for depth in (1, 2, 3, 4)] == [
        12 * 3 ** (depth - 1) for depth in (1, 2, 3, 4)
    ]
    assert {"mlp-1-none", "mlp-50-id", "mlp-1000-eee"} <= set(found)
    assert [len(names) for names in batches("mlp-{width}-{shape}", grid).values()] == [40] * 12


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"mlp-{dept}": {**GRID, "over": {"depth": [1]}}}, "grids.mlp-{dept}: unknown field of the name 'dept': did"),
        ({"mlp-{depth}": {**GRID, "over": {"depth": [1], "width": [2, 3]}}}, "two of its members are called 'mlp-1'"),
        (
            {"mlp-{width}": {**GRID, "over": {"width": [5, 5]}}},
            "two of its members are called 'mlp-5': give no value twice",
        ),
        (
            {"mlp-{width}": {**GRID, "settings": {"width": 3}, "over": {"width": [5]}}},
            "grids.mlp-{width}: 'width' stands in settings and in over: remove it from one",
        ),
        (
            {
                "mlp-{width}-{depth}": {**GRID, "over": {"width": [2], "depth": [1]}, "together": ["depth"]},
                "mlp-{width}-{std}": {**GRID, "over": {"width": [2], "std": [0.1]}, "together": ["std"]},
            },
            "grids.mlp-{width}-{std}: 'mlp-2-all' is what a job of another grid is called",
        ),
        ({"mlp-{width}": {**GRID, "over": {"width": 5}}}, "config, grids.mlp-{width}.over.width: it should be a"),
        ({"mlp-{width}": {**GRID, "seeds": True, "over": {"width": [5]}}}, "config, grids.mlp-{width}.seeds: it"),
        ({"mlp-{depth}": {**GRID, "over": {"depth": []}}}, "it has 0 members: give every key of over a value"),
        ({"mlp-{depth}": {**GRID, "over": {}}}, "config, grids.mlp-{depth}.over: "),
        ({"mlp-{depth}": {**GRID, "over": {"depth": {"each": [1, 2], "times": 60}}}}, "10,000 members at most"),
        ({"ne{depth}": {**GRID, "over": {"depth": ["t"]}}}, "'net' is the name of another base or model"),
        ({"a": {**GRID, "ovr": {}}}, "config"),
        ({"a": 3}, "config, grids.a"),
    ],
)
def test_mistakes_in_a_grid_are_named(change, says):
    with pytest.raises(PruneryError) as caught:
        read_study({**SWEEP, "grids": change, "recipes": ["net"]})
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_pattern_without_a_base_is_named():
    with pytest.raises(PruneryError, match=r"recipe cnn-\*: no base is called like 'cnn-\*': net, mlp-1x5"):
        read_study({**SWEEP, "recipes": ["cnn-*"]}).all_recipes()


def test_grids_alone_make_a_study():
    study = read_study({"grids": SWEEP["grids"], "recipes": ["*"]})
    assert len(study.all_recipes()) == 4


@pytest.mark.parametrize("key", ["bases", "model"])
def test_grids_hide_no_mistake_in_what_stands_beside_them(key):
    with pytest.raises(PruneryError, match=f"config, {key}: it should be a mapping"):
        read_study({**SWEEP, key: ["net"], "recipes": ["mlp-*"]})
