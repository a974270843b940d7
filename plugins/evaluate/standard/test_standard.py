"""The standard figures against counting by hand, and the stage around them."""

import json
import math

import pytest
import torch
from prunery_plugins.evaluate.standard.core import figures
from torch import nn

from prunery.checkpoint import Checkpoint, Origin, Replica, save
from prunery.data import Dataset, Spec, Split
from prunery.errors import PruneryError
from prunery.evaluate import evaluate
from prunery.network import load_checkpoint
from prunery.registry import registry

SPEC = Spec("image", (1, 4, 4), 3)


def method(**settings):
    return registry().configured("evaluate", "standard", settings)


class Table(nn.Module):
    """Answers sample i with row i of a table."""

    def __init__(self, rows):
        super().__init__()
        self.rows = torch.tensor(rows)

    def forward(self, index):
        return self.rows[index]


def test_figures_by_hand():
    network = Table([[2.0, 0.0], [0.0, 1.0], [3.0, 0.0]])
    dense = Table([[1.0, 0.0], [1.0, 0.0], [1.0, 0.0]])
    labels = torch.tensor([0, 1, 1])
    batches = [(torch.tensor([0, 1]), labels[:2]), (torch.tensor([2]), labels[2:])]
    found = figures(network, dense, batches)
    loss = (math.log(1 + math.exp(-2)) + math.log(1 + math.exp(-1)) + math.log(1 + math.exp(3))) / 3
    distance = sum(_kl(row, other) for row, other in zip(dense.rows.tolist(), network.rows.tolist(), strict=True)) / 3
    assert found == {
        "accuracy": 2 / 3, "loss": pytest.approx(loss), "agreement": 2 / 3, "divergence": pytest.approx(distance),
        "samples": 3,
    }  # fmt: skip


def _kl(teacher, student):
    p, q = ([math.exp(value) / sum(map(math.exp, row)) for value in row] for row in (teacher, student))
    return sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))


def _dataset():
    generator = torch.Generator().manual_seed(1)

    def split(count):
        images = torch.randint(0, 256, (count, 1, 4, 4), dtype=torch.uint8, generator=generator)
        return Split(images, torch.randint(0, 3, (count,), generator=generator))

    return Dataset("image", ("a", "b", "c"), split(9), split(11), split(23), (0.5,), (0.5,))


def _checkpoint(folder, seeds):
    mlp = registry().configured("model", "mlp", {"width": 6})
    replicas = {seed: Replica(mlp.build(SPEC)) for seed in seeds}
    save(Checkpoint(Origin(*mlp.origin(), SPEC), replicas), folder)
    return load_checkpoint(folder)


def test_the_stage_keeps_splits_and_replicas_apart(tmp_path):
    dense, other, data = _checkpoint(tmp_path / "a", (0, 1)), _checkpoint(tmp_path / "b", (0, 1)), _dataset()
    found = evaluate(method(batch=4), other, dense, data, tmp_path / "b")
    json.dumps(found, allow_nan=False)
    for seed, network in zip((0, 1), other.networks, strict=True):
        row = found["replicas"][str(seed)]
        for split in ("validation", "test"):
            part = data.split(split)
            predicted = network(data.network_inputs(part.inputs)).argmax(1)
            expected = dense.replicas[seed].network(data.network_inputs(part.inputs)).argmax(1)
            assert row[split]["samples"] == len(part)
            assert row[split]["accuracy"] == float((predicted == part.labels).double().mean())
            assert row[split]["agreement"] == float((predicted == expected).double().mean())
        assert row["parameters"] == 16 * 6 + 6 + 6 * 3 + 3
        assert row["file_bytes"] == (tmp_path / "b" / f"{seed}.safetensors").stat().st_size
    assert found["replicas"]["0"] != found["replicas"]["1"]


def test_the_batch_size_does_not_show(tmp_path):
    dense, other, data = _checkpoint(tmp_path / "a", (0,)), _checkpoint(tmp_path / "b", (0,)), _dataset()
    small, large = (evaluate(method(batch=size), other, dense, data)["replicas"]["0"] for size in (1, 64))
    for split in ("validation", "test"):
        for name in ("loss", "divergence"):
            assert small[split].pop(name) == pytest.approx(large[split].pop(name), rel=1e-6)
        assert small[split] == large[split]


def test_a_dense_network_agrees_with_itself(tmp_path):
    dense = _checkpoint(tmp_path / "a", (0,))
    row = evaluate(method(), dense, load_checkpoint(tmp_path / "a"), _dataset())["replicas"]["0"]
    assert row["validation"]["agreement"] == row["test"]["agreement"] == 1.0
    assert row["validation"]["divergence"] == row["test"]["divergence"] == 0.0


def test_a_student_is_compared_with_its_teacher_too(tmp_path):
    dense, student = _checkpoint(tmp_path / "a", (0, 1)), _checkpoint(tmp_path / "b", (0, 1))
    teacher, data = _checkpoint(tmp_path / "c", (1,)), _dataset()
    found = evaluate(method(), student, dense, data, teacher=teacher)["replicas"]["0"]["test"]
    batches = [(data.network_inputs(data.test.inputs), data.test.labels)]
    with torch.no_grad():
        wanted = figures(student.networks[0], teacher.networks[0], batches)
    assert found["teacher_divergence"] == pytest.approx(wanted["divergence"], rel=1e-6)
    assert found["teacher_agreement"] == wanted["agreement"]
    assert found["divergence"] != pytest.approx(found["teacher_divergence"], rel=0.01)
    own = evaluate(method(), student, dense, data, teacher=dense)["replicas"]["1"]["test"]
    assert own["teacher_divergence"] == own["divergence"] > 0


def test_mistakes_are_named(tmp_path):
    dense, other = _checkpoint(tmp_path / "a", (0,)), _checkpoint(tmp_path / "b", (0, 1))
    with pytest.raises(PruneryError, match=r"no seed 1 \(it has \[0\]\)"):
        evaluate(method(), other, dense, _dataset())
    with torch.no_grad():
        other.networks[0].fc1.weight.fill_(math.nan)
    with pytest.raises(PruneryError, match="loss of seed 0 on the validation split is nan"):
        evaluate(method(), other, dense, _dataset())
