"""Errors and ratios against all values held at once, for every way a network is compressed."""

import copy
import math

import pytest
import torch
from torch import nn

from prunery import PruneryError, toys
from prunery.evaluate import evaluate
from prunery.folding import batch_norm_pairs, fold
from prunery.layers import weights
from prunery.quantize import quantize
from prunery.registry import registry


def method(**settings):
    return registry().configured("evaluate", "distortion", settings)


def figures(network, dense, batches, **settings):
    with torch.no_grad():
        return method(**settings).figures(network.eval(), dense.eval(), batches)


@pytest.fixture
def dense():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(64, 5), nn.Linear(5, 3))


@pytest.fixture
def batches():
    generator = torch.Generator().manual_seed(0)
    return [(torch.randn(size, 1, 6, 6, generator=generator), torch.zeros(size)) for size in (8, 3)]


def noisy(network, seed=1):
    changed = copy.deepcopy(network)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in weights(changed).values():
            weight.add_(0.05 * torch.randn(weight.shape, generator=generator))
    return changed


def mse_and_sqnr(x, y):
    noise = float((x - y).square().sum())
    return noise / x.numel(), 10 * math.log10(float(x.square().sum()) / noise)


def activations(network, batches):
    """Outputs of the conv (before ReLU) and of the two linear layers, over all samples."""
    x = torch.cat([inputs for inputs, _ in batches])
    conv = network[0](x)
    first = network[3](conv.relu().flatten(1))
    return {"0.weight": conv, "3.weight": first, "4.weight": network[4](first)}


@pytest.mark.parametrize("rectified", [True, False])
def test_figures_of_weights_and_outputs(dense, batches, rectified):
    network = noisy(dense)
    found = figures(network, dense, batches, rectified=rectified)
    with torch.no_grad():
        wanted, given = activations(dense, batches), activations(network, batches)
    if rectified:
        wanted["0.weight"], given["0.weight"] = wanted["0.weight"].relu(), given["0.weight"].relu()
    rows = []
    for key, weight in weights(dense).items():
        row = found["layers"][key]
        assert (row["weight_mse"], row["weight_sqnr"]) == pytest.approx(
            mse_and_sqnr(weight, network.get_parameter(key).detach()), rel=1e-4
        )
        rows.append(mse_and_sqnr(wanted[key], given[key]))
        assert (row["output_mse"], row["output_sqnr"]) == pytest.approx(rows[-1], rel=1e-4)
    assert found["output_mse"] == pytest.approx(sum(mse for mse, _ in rows) / 3, rel=1e-4)
    assert found["output_sqnr"] == pytest.approx(sum(ratio for _, ratio in rows) / 3, rel=1e-4)
    assert (found["output_layers"], found["output_exact"], found["output_left_out"]) == (3, 0, 0)


def test_each_layers_own_error(dense, batches):
    network = noisy(dense)
    found = figures(network, dense, batches, inputs="dense")["layers"]
    with torch.no_grad():
        wanted = activations(dense, batches)
        alone = network[4](wanted["3.weight"])
    assert found["4.weight"]["output_mse"] == pytest.approx(mse_and_sqnr(wanted["4.weight"], alone)[0], rel=1e-4)
    assert found["4.weight"]["output_mse"] != pytest.approx(
        figures(network, dense, batches)["layers"]["4.weight"]["output_mse"], rel=0.01
    )


def test_a_network_equals_itself(dense, batches):
    for network in (dense, copy.deepcopy(dense)):
        found = figures(network, dense, batches)
        assert found["weight_mse"] == found["output_mse"] == 0
        assert (found["weight_exact"], found["output_exact"]) == (3, 3)
        assert "weight_sqnr" not in found
        assert not any("sqnr" in name for row in found["layers"].values() for name in row)


def test_layers_of_another_shape_are_left_out_and_counted(dense, batches):
    network = copy.deepcopy(dense)
    network[3], network[4] = nn.Linear(64, 4), nn.Linear(4, 3)
    found = figures(network, dense, batches)
    assert (found["weight_layers"], found["weight_left_out"]) == (1, 2)
    assert (found["output_layers"], found["output_left_out"]) == (2, 1)  # the last one still makes three outputs
    alone = figures(network, dense, batches, inputs="dense")
    assert (alone["output_layers"], alone["output_left_out"]) == (1, 2)
    network[4] = nn.Identity()
    assert figures(network, dense, batches)["weight_left_out"] == 2


def test_folded_batch_norms_are_no_distortion(batches):
    torch.manual_seed(0)
    dense = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(64, 3)).eval()
    dense[1].running_var.copy_(torch.tensor([0.01, 1, 4, 100]))
    network = copy.deepcopy(dense)
    for pair in batch_norm_pairs(network, batches[0][0][:1]):
        fold(network, pair)
    found = figures(network, dense, batches)
    assert found["weight_mse"] == 0
    assert found["output_mse"] < 1e-10
    assert isinstance(dense[1], nn.BatchNorm2d)


def test_the_stage_puts_layers_beside_their_sizes():
    with toys.toy_registered():
        dense, data = toys.toy_checkpoint((0,)), toys.toy_images()
        ptq = registry().configured("quantize", "ptq", {})
        int8 = dense.child(quantize(ptq, dense, toys.measured_by(ptq, dense)), {})
        row = evaluate(method(), int8, dense, data)["replicas"]["0"]
    assert row["test"]["weight_layers"] == row["test"]["output_layers"] == 4
    assert "layers" not in row["test"]
    assert 35 < row["test"]["weight_sqnr"] < 55  # 8 bits: 6.02 dB each, less the reach of the largest weight
    for layer in row["layers"].values():
        assert layer["test_weight_mse"] == layer["validation_weight_mse"] > 0
        assert 20 < layer["test_output_sqnr"] < 60
        assert layer["dtype"] == "int8"


def test_no_samples(dense):
    with pytest.raises(PruneryError, match="raise `samples`"):
        figures(dense, dense, [])
