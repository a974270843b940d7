"""Figures of whole networks against naive ones, and every way a network is compressed."""

import copy

import pytest
import torch
from torch import nn

from prunery import PruneryError, toys
from prunery.data import Spec
from prunery.edits import replay
from prunery.evaluate import evaluate
from prunery.factors import factors_edit
from prunery.folding import batch_norm_pairs, fold
from prunery.layers import compressible, weights
from prunery.permuting import reorder
from prunery.quantize import quantize
from prunery.registry import registry

MASKS, ALL = (4, 5, 6, 9), range(1, 10)


def method(**settings):
    return registry().configured("evaluate", "certificate", settings)


def figures(network, dense, batches, **settings):
    with torch.no_grad():
        return method(**settings).figures(network.eval(), dense.eval(), batches)


def pruned(dense, share=0.4):
    """Each layer's smallest weights gone."""
    network = copy.deepcopy(dense)
    with torch.no_grad():
        for weight in weights(network).values():
            weight[weight.abs() <= weight.abs().quantile(share)] = 0
    return network


@pytest.fixture
def dense():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(inplace=True), nn.MaxPool2d(2), nn.Conv2d(4, 4, 2, groups=2),
        nn.ReLU(), nn.Flatten(), nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3),
    )  # fmt: skip


@pytest.fixture
def batches():
    generator = torch.Generator().manual_seed(0)
    return [
        (torch.randn(size, 1, 6, 6, generator=generator), torch.randint(3, (size,), generator=generator))
        for size in (8, 5)
    ]


def test_every_inequality_holds_on_a_small_network(dense, batches):
    found = figures(pruned(dense), dense, batches, l2=0.01, l1=0.01)
    assert (found["exact_layers"], found["sampled_layers"], found["left_out_layers"]) == (4, 0, 0)
    for number in ALL:
        assert found[f"holds_{number}"] == 1
        assert found[f"slack_{number}"] >= -1e-9
    assert 0 < abs(found["loss_change"]) < found["budget"]
    assert found["gap"] < 1e-5
    for row in found["layers"].values():
        assert 0 < row["spent"] < 1
        assert 0 <= row["certain"] <= 1
        assert row["budget"] < row["gaussian_budget"]


def test_the_last_layers_figures_by_hand(dense, batches):
    """Behind it there is nothing: L is 1, and the budget twice the mean of the largest |R x|."""
    network = copy.deepcopy(dense)
    with torch.no_grad():
        network[9].weight[:, ::2] = 0
        x = torch.cat([inputs for inputs, _ in batches])
        received = dense.eval()[:9](x)
        removed = dense[9].weight - network[9].weight
        moved = (received @ removed.T).abs().amax(1)
    found = figures(network, dense, batches)
    row = found["layers"]["9.weight"]
    assert list(found["layers"]) == ["9.weight"]
    assert row["lipschitz"] == pytest.approx(1)
    assert row["budget"] == pytest.approx(found["budget"]) == pytest.approx(2 * float(moved.mean()), rel=1e-5)
    proxy = float(torch.linalg.matrix_norm(removed, 2)) * float(received.abs().amax(1).mean())
    assert row["proxy"] == pytest.approx(found["proxy"]) == pytest.approx(proxy, rel=1e-5)
    margins = dense(x).topk(2, dim=1).values.diff(dim=1).abs()[:, 0]
    assert row["certain"] == found["certain"] == pytest.approx(float((margins > 2 * moved).double().mean()))


def test_a_penalty_that_outweighs_the_budget_certifies(dense, batches):
    assert figures(pruned(dense), dense, batches, l2=0, l1=0)["certified_layers"] == 0
    found = figures(pruned(dense), dense, batches, l2=100)
    assert found["certified_layers"] == 4
    assert all(row["restoration_gain"] < 0 for row in found["layers"].values())


def test_smooth_networks_have_sampled_figures(batches):
    """Only behind the last block's last layer all is linear; what rests on other layers' constants says so."""
    spec = Spec("image", (1, 6, 6), 3)
    dense = registry().configured("model", "vit", {"dim": 8, "grid": 3}).build(spec)
    found = figures(pruned(dense), dense, batches)
    assert {key for key, row in found["layers"].items() if "budget" in row} == {
        "blocks.1.mlp.fc2.weight",
        "head.weight",
    }
    assert (found["exact_layers"], found["sampled_layers"]) == (2, len(list(compressible(dense))) - 2)
    assert found["holds_1"] == found["holds_8_sampled"] == found["holds_7_sampled"] == 1
    assert "budget" not in found
    assert found["layers"]["embed.weight"].keys() & {"budget", "holds_1"} == set()
    assert found["budget_sampled"] > found["loss_change"]


def test_a_sampled_constant_can_be_wrong():
    """The chord of a way with a kink is half as steep as its first half: the inequality fails, under another name."""
    dense = nn.Sequential(nn.Linear(1, 1, bias=False), nn.ReLU(), nn.Linear(1, 2, bias=False))
    with torch.no_grad():
        dense[0].weight.fill_(1.0)
        dense[2].weight.copy_(torch.tensor([[30.0], [-30.0]]))
    network = copy.deepcopy(dense)
    with torch.no_grad():
        network[0].weight.fill_(-1.0)
    batch = [(torch.ones(2, 1), torch.tensor([1, 1]))]
    exact, sampled = (figures(network, dense, batch, pieces=pieces, secants=1) for pieces in (8, 0))
    assert exact["holds_1"] == exact["holds_3"] == exact["holds_7"] == 1
    assert sampled["holds_1_sampled"] == 0
    assert exact["budget"] == pytest.approx(2 * sampled["budget_sampled"], rel=1e-6)
    assert "holds_4" not in exact  # -1 = 1 - 2: a weight in both parts


def test_trained_networks_have_a_difference_and_zeros(dense, batches):
    network = pruned(dense)
    with torch.no_grad():
        for weight in weights(network).values():
            weight[weight != 0] += 0.01
    moved, zeros = (figures(network, dense, batches, removed=kind) for kind in ("difference", "zeros"))
    assert all(moved[f"holds_{number}"] == 1 for number in ALL if number not in MASKS)
    assert not any(f"holds_{number}" in moved for number in MASKS)
    assert all(zeros[f"holds_{number}"] == 1 for number in ALL)
    assert moved["gap"] < 1e-5 < 0.001 < zeros["gap"]
    assert zeros["budget"] == pytest.approx(figures(pruned(dense), dense, batches)["budget"], rel=1e-6)


def test_the_dense_network_loses_nothing(dense, batches):
    found = figures(dense, dense, batches)
    assert found["layers"] == {}
    assert found["budget"] == found["proxy"] == found["loss_change"] == found["exact_layers"] == 0
    assert found["certain"] == 1


def test_the_proxy_alone(dense, batches):
    found, whole = (figures(pruned(dense), dense, batches, bounds=bounds) for bounds in (False, True))
    assert found.keys() == {"proxy", "gone_layers", "layers"}
    assert found["proxy"] == whole["proxy"] > 0
    assert all(row.keys() == {"proxy"} for row in found["layers"].values())


def test_folded_norms_factors_and_cut_channels(dense, batches):
    with torch.no_grad():
        dense[1].running_var.copy_(torch.tensor([0.5, 1, 4, 10]))
    network = copy.deepcopy(dense).eval()
    for pair in batch_norm_pairs(network, batches[0][0][:1]):
        fold(network, pair)
    assert figures(network, dense, batches)["layers"] == {}
    replay(network, [factors_edit({"7.weight": 1})])
    found = figures(network, dense, batches)
    assert found["layers"].keys() == {"7.weight"}
    assert (found["holds_3"], found["holds_8"], found["gone_layers"]) == (1, 1, 0)
    assert found["gap"] < 1e-5
    network[7] = nn.Linear(4, 5)
    network[9] = nn.Linear(5, 3)
    assert figures(network, dense, batches)["gone_layers"] == 2


def test_permuted_inputs_are_no_difference(dense, batches):
    network = copy.deepcopy(dense)
    replay(network, [{"edit": "permute", "keys": ["4.weight", "7.weight"]}])
    for key, order in (("4", [1, 0]), ("7", [2, 0, 3, 1])):
        reorder(network.get_submodule(key), torch.tensor(order))
    assert figures(network, dense, batches)["layers"] == {}
    with torch.no_grad():
        network[7].weight[:, 0] = 0  # what channel 2 of the input is multiplied with
    found = figures(network, dense, batches)
    assert found["layers"].keys() == {"7.weight"}
    assert found["holds_4"] == 1
    assert found["gap"] < 1e-5


def test_layers_that_do_not_run_as_modules_are_left_out(batches):
    class Attending(nn.Module):
        def __init__(self):
            super().__init__()
            self.attention, self.head = nn.MultiheadAttention(6, 2, batch_first=True), nn.Linear(36, 3)

        def forward(self, x):
            x = x[:, 0]
            return self.head(self.attention(x, x, x, need_weights=False)[0].flatten(1))

    torch.manual_seed(0)
    dense = Attending()
    found = figures(pruned(dense), dense, batches)
    assert (found["left_out_layers"], found["exact_layers"]) == (1, 1)
    assert found["gap"] > 0.001


def test_the_stage_puts_layers_beside_their_sizes():
    with toys.toy_registered():
        dense, data = toys.toy_checkpoint((0,)), toys.toy_images()
        ptq = registry().configured("quantize", "ptq", {})
        int8 = dense.child(quantize(ptq, dense, toys.measured_by(ptq, dense)), {})
        row = evaluate(method(samples=8), int8, dense, data)["replicas"]["0"]
    assert row["test"]["holds_1"] == row["test"]["holds_7"] == row["validation"]["holds_3"] == 1
    assert row["test"]["exact_layers"] == 4
    assert all(layer["test_budget"] > 0 and layer["dtype"] == "int8" for layer in row["layers"].values())


def test_no_samples(dense):
    with pytest.raises(PruneryError, match="raise `samples`"):
        figures(dense, dense, [])


def test_weights_that_are_not_finite(dense, batches):
    network = copy.deepcopy(dense)
    with torch.no_grad():
        network[7].weight[0, 0] = torch.nan
    with pytest.raises(PruneryError, match=r"7\.weight holds values that are not finite"):
        figures(network, dense, batches)
