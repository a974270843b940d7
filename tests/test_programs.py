"""Networks of several shapes in one program end up as each alone."""

from __future__ import annotations

from copy import deepcopy

import pytest
import torch
from torch import nn

from prunery.checkpoint import Origin
from prunery.network import architecture
from prunery.programs import programs
from prunery.registry import registry
from prunery.stacked import Stacked
from prunery.toys import states, toy_images
from prunery.train import train, train_shapes

CPU = torch.device("cpu")
SHAPES = {
    "mlp": [{"widths": widths} for widths in ([3, 6, 12], [12, 3, 3], [3, 3, 3], [1, 2, 4], [5, 1, 9])],
    "cnn": [{"channels": channels} for channels in (1, 2, 5)],
}


def built(model: str, settings: dict, seeds: int = 2) -> dict[int, nn.Module]:
    origin = Origin(model, settings, toy_images().spec)
    torch.manual_seed(0)
    return {seed: architecture(origin).build(origin.spec) for seed in range(seeds)}


@pytest.mark.parametrize("model", SHAPES)
def test_small_shapes_of_one_form_share_a_program(model):
    shapes = [built(model, settings) for settings in SHAPES[model]]
    (program,) = programs(shapes, True, CPU)
    assert program.members == tuple(range(len(shapes)))
    assert len(program) == 2 * len(shapes)
    seed, member = 1, 2
    assert program.networks[seed * len(shapes) + member] is shapes[member][seed]


def test_every_network_is_in_one_program():
    shapes = [built("mlp", {"width": width, "depth": depth}) for width in (1, 4, 700) for depth in (1, 2)]
    shapes += [built("vit", {"dim": 4}), built("vit", {"dim": 6})]
    found = programs(shapes, True, CPU)
    held = [id(network) for program in found for network in program.networks]
    assert sorted(held) == sorted(id(network) for shape in shapes for network in shape.values())
    assert all(len({len(list(network.parameters())) for network in program.networks}) == 1 for program in found)
    wide = next(program for program in found if 4 in program.members)
    assert wide.members == (4,)  # padding four units to 700 would cost more than a program of their own
    assert [program.members for program in found if 6 in program.members] == [(6,)]  # layer norms cannot be padded


def test_large_networks_are_split_by_seeds():
    found = programs([built("mlp", {"widths": [1000, 1000]}, seeds=8)], True, CPU)
    assert len(found) > 1
    assert [seed for program in found for seed in program.seeds] == list(range(8))


def test_units_whose_zeros_would_learn_are_not_padded():
    def shape(units: int, last: nn.Module) -> dict[int, nn.Module]:
        return {0: nn.Sequential(nn.Linear(3, units), last, nn.Linear(units, 2))}

    assert len(programs([shape(4, nn.Tanh()), shape(5, nn.Tanh())], True, CPU)) == 1
    assert len(programs([shape(4, nn.Sigmoid()), shape(5, nn.Sigmoid())], True, CPU)) == 2
    assert len(programs([shape(4, nn.Tanh()), shape(5, nn.ReLU())], True, CPU)) == 2


def conv(units: int, *layers: nn.Module, features: int) -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, units, 2), *layers, nn.Flatten(), nn.Linear(features, 4))


def reused(units: int) -> nn.Module:
    act = nn.Tanh()
    return nn.Sequential(nn.Flatten(), nn.Linear(64, units), act, nn.Linear(units, units), act, nn.Linear(units, 4))


def frozen(units: int, trained: bool) -> nn.Module:
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, units), nn.ReLU(), nn.Linear(units, 4))
    network[1].weight.requires_grad_(trained)
    return network


class Doubling(nn.Sequential):
    def __call__(self, inputs: torch.Tensor) -> torch.Tensor:
        return 2 * super().__call__(inputs)


UNUSUAL = {
    "one activation used twice": ([reused(3), reused(5)], 1),
    "units behind rows": ([nn.Sequential(nn.Linear(8, n), nn.Flatten(), nn.Linear(8 * n, 4)) for n in (3, 5)], 2),
    "pooled units": (
        [nn.Sequential(nn.Linear(8, n), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(n // 2 * 4, 4)) for n in (3, 6)],
        2,
    ),
    "units behind channels": ([conv(2, nn.Linear(7, n), features=14 * n) for n in (3, 5)], 2),
    "average with and without padding": (
        [conv(2, nn.AvgPool2d(3, 2, 1, count_include_pad=each), features=32) for each in (True, False)],
        2,
    ),
    "average of whole and of broken windows": (
        [conv(2, nn.AvgPool2d(2, ceil_mode=each), features=32 if each else 18) for each in (True, False)],
        2,
    ),
    "frozen and trained": ([frozen(3, True), frozen(5, False)], 2),
    "float32 and float64": ([frozen(3, True), frozen(5, True).double()], 2),
    "outputs": ([nn.Sequential(nn.Flatten(), nn.Linear(64, 3), nn.Linear(3, n)) for n in (4, 6)], 2),
    "a call of its own": ([Doubling(nn.Flatten(), nn.Linear(64, 4)) for _ in range(2)], 2),
}


@pytest.mark.parametrize("name", UNUSUAL)
def test_unusual_chains_compute_what_they_compute_alone(name):
    networks, count = UNUSUAL[name]
    shapes = [{0: network, 1: deepcopy(network)} for network in networks]
    found = programs(shapes, True, CPU)
    assert len(found) == count
    for program in found:
        inputs = torch.randn(2, 5, 1, 8, 8, dtype=next(program.networks[0].parameters()).dtype)
        logits = program.ensemble(CPU).forward(inputs)
        for row, network in enumerate(program.networks):
            assert torch.allclose(logits[row], network(inputs[row // len(program.members)]), atol=1e-5)


@pytest.mark.parametrize("model", SHAPES)
def test_a_padded_stack_computes_what_its_networks_compute(model):
    shapes = [built(model, settings) for settings in SHAPES[model]]
    (program,) = programs(shapes, True, CPU)
    stack = program.ensemble(CPU)
    assert isinstance(stack, Stacked)
    inputs = torch.randn(2, 5, 1, 8, 8)
    per_seed, for_all = stack.forward(inputs), stack.forward(inputs[:1])
    for row, network in enumerate(program.networks):
        assert torch.allclose(per_seed[row], network(inputs[row // len(shapes)]), atol=1e-5)
        assert torch.allclose(for_all[row], network(inputs[0]), atol=1e-5)


@pytest.mark.parametrize(
    "settings",
    [
        {"epochs": 3},
        {"epochs": 12, "patience": 1, "learning_rate": 0.02},
        {"epochs": 2, "optimizer": "sgd", "weight_decay": 0.01, "clip_norm": 0.5},
        {"epochs": 2, "optimizer": "adamw", "weight_decay": 0.1},
    ],
    ids=["adam", "stopping", "sgd", "adamw"],
)
@pytest.mark.parametrize("model", SHAPES)
def test_shapes_in_company_equal_shapes_alone(model, settings):
    data, seeds = toy_images(), [0, 3, 4]
    learner = registry().configured("train", "supervised", {"batch_size": 24, **settings})
    families = [(architecture(origin), origin) for origin in (Origin(model, each, data.spec) for each in SHAPES[model])]
    together = train_shapes(learner, families, data, seeds, lambda _: None)
    for (checkpoint, history), family in zip(together, families, strict=True):
        assert [tuple(value.shape) for value in checkpoint.networks[0].parameters()] == [
            tuple(value.shape) for value in family[0].build(data.spec).parameters()
        ]
        for seed in seeds:
            alone, story = train(learner, *family, data, [seed], lambda _: None)
            assert len(history[seed]) == len(story[seed])
            assert history[seed][-1] == pytest.approx(story[seed][-1], rel=1e-3, abs=1e-5)
            theirs = states(alone.replicas[seed].network)
            for key, value in states(checkpoint.replicas[seed].network).items():
                assert torch.allclose(value, theirs[key], rtol=1e-3, atol=1e-4), (seed, key)
