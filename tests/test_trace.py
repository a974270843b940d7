"""The journey of one tensor through the records of a recipe."""

import json

import pytest
import torch

from prunery.checkpoint import save
from prunery.cli import main
from prunery.errors import PruneryError
from prunery.files import sha256
from prunery.layers import layer_of
from prunery.quantize import quantize
from prunery.registry import registry
from prunery.toys import toy_checkpoint
from prunery.trace import trace


def provenance(stage: str, variant: str) -> dict:
    return {"stage": stage, "variant": variant, "method": "toy", "distribution": "prunery", "version": "9"}


@pytest.fixture
def recipe(tmp_path):
    """A trained network and a pruned one below it: every third of the 128 weights of `5.weight` is gone."""
    dense, pruned = tmp_path / "seeds=0-1", tmp_path / "seeds=0-1" / "prune=third"
    parent, child = toy_checkpoint(), toy_checkpoint(masked=True)
    parent.provenance = provenance("train", "quick")
    save(parent, dense)
    parent.hash = sha256(dense / "model.json")
    save(parent.child(child.replicas, provenance("prune", "third")), pruned)
    return dense, pruned, child


def test_every_step_tells_what_it_made_of_the_tensor(recipe):
    dense, pruned, child = recipe
    lines = trace(pruned, "5.weight")
    assert lines[0] == f"{dense}, seed 0"
    assert [line for line in lines if "=" in line][1:] == [
        "train=quick  (toy of prunery 9)",
        "prune=third  (toy of prunery 9)",
    ]
    first, second, mask = [line.split() for line in lines if line.startswith("  5.weight")]
    weight = layer_of(child.replicas[0].network, "5.weight").weight
    shape, zeros = "x".join(map(str, weight.shape)), f"{float((weight == 0).float().mean()):.1%}"
    assert 33 < float(zeros.rstrip("%")) < 34
    assert first[:4] == ["5.weight", "float32", shape, "0.0%"]
    assert second[:4] == ["5.weight", "float32", shape, zeros]
    assert mask[:4] == ["5.weight/mask", "bool", shape, zeros]
    recorded = json.loads((pruned / "model.json").read_text())["replicas"]["0"]["tensors"]["5.weight"]["sha256"]
    assert second[-1] == recorded[:12] != first[-1]


def test_a_tensor_that_no_step_touches_keeps_its_hash(recipe):
    rows = [line.split()[-1] for line in trace(recipe[1], "0.weight", seed=1) if line.startswith("  ")]
    assert len(rows) == 2
    assert rows[0] == rows[1]


def test_mistakes_are_one_line(recipe, tmp_path, capsys):
    pruned = recipe[1]
    for arguments, says in (
        ([str(pruned), "5.wieght"], "unknown tensor '5.wieght': did you mean '5.weight'?"),
        ([str(pruned), "5.weight", "--seed", "7"], "holds the seeds 0, 1, not 7"),
        ([str(tmp_path), "5.weight"], "holds no model.json"),
    ):
        assert main(["trace", *arguments]) == 1
        error = capsys.readouterr().err
        assert says in error
        assert error.count("\n") == 1


def test_a_parent_that_is_another_one_now_is_noticed(recipe):
    dense, pruned, _ = recipe
    other = toy_checkpoint(seeds=(0,))
    torch.nn.init.ones_(layer_of(other.replicas[0].network, "5.weight").weight)
    other.provenance = provenance("train", "quick")
    save(other, dense)
    with pytest.raises(PruneryError, match="was made from another"):
        trace(pruned, "5.weight")


def test_the_command_prints_the_journey(recipe, capsys):
    assert main(["trace", str(recipe[1]), "5.weight"]) == 0
    assert capsys.readouterr().out.splitlines() == trace(recipe[1], "5.weight")


def test_of_packed_weights_no_share_of_zeros_is_told(tmp_path):
    """A zero byte holds two zeros, any other up to one: the bytes do not say how many weights are zero."""
    parent = toy_checkpoint(masked=True)
    parent.provenance = provenance("train", "quick")
    save(parent, tmp_path)
    parent.hash = sha256(tmp_path / "model.json")
    method = registry().configured("quantize", "weights", {"format": "int4"})
    save(parent.child(quantize(method, parent, {}), provenance("quantize", "int4")), tmp_path / "quantize=int4")
    first, *_, packed, _, scale = [
        line.split() for line in trace(tmp_path / "quantize=int4", "5.weight") if line.startswith("  5.weight")
    ]
    assert first[4] == scale[4] == "zeros"
    assert packed[1:4] == ["uint8", "256", "packed"]  # 512 weights
