"""The stage `quantize`: what is stored, what is refused, and that a reload is the same network."""

import copy

import pytest
import torch
from torch import nn

from prunery import Quantizer
from prunery.calibrate import calibrate
from prunery.checkpoint import Checkpoint, Origin, Replica, load, save
from prunery.edits import add_masks, mask_edit
from prunery.errors import PruneryError
from prunery.integer import Affine, IntegerConv2d, IntegerLinear, IntegerPlan
from prunery.layers import integer_layers
from prunery.quantize import quantize
from prunery.registry import registry
from prunery.sizes import sizes
from prunery.toys import measured_by, toy_checkpoint, toy_images


class Rounded(Quantizer):
    """One scale for everything; `change` lets a test spoil a plan."""

    name = "rounded"

    def __init__(self, change=lambda plans: plans):
        super().__init__()
        self.change = change

    def plan(self, weights, measured):
        plans = {}
        for key, weight in weights.items():
            scale = torch.full((len(weight),), float(weight.abs().max()) / 127)
            grid = Affine(0.05, 128)
            plans[key] = IntegerPlan((weight / scale[0]).round().to(torch.int8), scale, grid, grid)
        return self.change(plans)


def normed(seed: int = 0) -> nn.Module:
    """A residual network with batch norms that have seen data."""

    class Residual(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv1, self.bn1 = nn.Conv2d(1, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8)
            self.conv2, self.bn2 = nn.Conv2d(8, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8)
            self.head = nn.Linear(8, 4)

        def forward(self, x):
            x = self.bn1(self.conv1(x)).relu()
            x = (self.bn2(self.conv2(x)) + x).relu()
            return self.head(x.mean((2, 3)))

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = Residual()
        optimizer = torch.optim.Adam(network.parameters(), 0.01)
        for _ in range(20):
            for inputs, labels in toy_images().batches("train", 32):
                optimizer.zero_grad()
                nn.functional.cross_entropy(network(inputs), labels).backward()
                optimizer.step()
    return network.eval()


def checkpoint_of(network: nn.Module) -> Checkpoint:
    return Checkpoint(Origin("test", {}, toy_images().spec), {0: Replica(network)}, hash="test")


def ptq(parent: Checkpoint, **settings) -> Checkpoint:
    method = registry().configured("quantize", "ptq", settings)
    found = calibrate(registry().configured("calibrate", "activations", {}), parent, toy_images())
    return parent.child(quantize(method, parent, {seed: {"activations": rows} for seed, rows in found.items()}), {})


def accuracy(network: nn.Module) -> float:
    with torch.no_grad():
        hits = [network(x).argmax(1) == y for x, y in toy_images().batches("test", 64)]
    return float(torch.cat(hits).float().mean())


def test_layers_become_integers_and_keys_stay():
    parent = toy_checkpoint(masked=True)
    before = set(parent.networks[0].state_dict())
    child = quantize(Rounded(), parent, {})[0]
    layers = dict(integer_layers(child.network))
    assert list(layers) == ["0.weight", "2.weight", "5.weight", "7.weight"]
    assert isinstance(layers["0.weight"], IntegerConv2d)
    assert isinstance(layers["7.weight"], IntegerLinear)
    state = child.network.state_dict()
    assert before <= set(state)
    assert all("/" in key for key in set(state) - before)
    assert state["0.weight"].dtype == torch.int8
    assert state["0.bias"].dtype == torch.float32
    assert child.edits == [*parent.replicas[0].edits, {"edit": "integers", "keys": list(layers)}]
    mask = state["2.weight/mask"]
    assert not mask.all()
    assert not state["2.weight"][~mask].any()


def test_batch_norms_are_folded_and_the_reload_is_the_same(tmp_path):
    parent = checkpoint_of(normed())
    add_masks(parent.networks[0], mask_edit(["conv2.weight"]))
    parent.replicas[0].edits.append(mask_edit(["conv2.weight"]))
    child = ptq(parent)
    assert [edit["edit"] for edit in child.replicas[0].edits] == ["mask", "fold_batch_norm", "integers"]
    assert child.replicas[0].edits[1]["pairs"] == [["conv1", "bn1"], ["conv2", "bn2"]]
    assert not [key for key in child.networks[0].state_dict() if key.startswith("bn")]
    save(child, tmp_path)
    again = load(tmp_path, lambda origin: type(parent.networks[0])())
    inputs = next(toy_images().batches("test", 64))[0]
    with torch.no_grad():
        wanted, float_logits = child.networks[0](inputs), parent.networks[0](inputs)
        assert torch.equal(again.networks[0].eval()(inputs), wanted)
    assert float((wanted - float_logits).abs().max()) < 0.05 * float(float_logits.abs().max())
    assert accuracy(parent.networks[0]) > 0.9
    assert accuracy(again.networks[0]) >= accuracy(parent.networks[0]) - 0.02


def test_output_ranges_are_those_behind_norm_and_relu():
    parent = checkpoint_of(normed())
    first = dict(integer_layers(ptq(parent).networks[0]))["conv1.weight"]
    network, inputs = parent.networks[0], next(toy_images().batches("train", 128))[0]
    largest = float(network.bn1(network.conv1(inputs)).detach().max())
    assert int(first.get_buffer("weight/output_zero_point")) == 0
    assert float(first.get_buffer("weight/output_scale")) == pytest.approx(largest / 255, rel=1e-4)


def test_layers_with_a_forward_of_their_own_stay_in_floating_point():
    class Doubled(nn.Linear):
        def forward(self, inputs):
            return 2 * super().forward(inputs)

    network = nn.Sequential(nn.Flatten(), Doubled(64, 8), nn.ReLU(), nn.Linear(8, 4)).eval()
    child = ptq(checkpoint_of(network)).networks[0]
    assert isinstance(child[1], Doubled)
    assert isinstance(child[3], IntegerLinear)


def test_a_layer_in_two_places_is_replaced_in_both():
    shared = nn.Linear(8, 8)
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 8), shared, nn.ReLU(), shared, nn.Linear(8, 4)).eval()
    child = ptq(checkpoint_of(network)).networks[0]
    assert child[2] is child[4]
    assert isinstance(child[2], IntegerLinear)


def spoil(key="0.weight", **fields):
    def change(plans):
        plans[key] = IntegerPlan(**{**vars(plans[key]), **fields})
        return plans

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda plans: {"9.weight": plans["0.weight"]}, "a plan for '9.weight', which is no weight it was shown"),
        (spoil(weight=torch.zeros(8, 1, 3, 3)), r"torch.float32 \[8, 1, 3, 3\], wanted torch.int8"),
        (spoil(weight=torch.zeros(8, 1, dtype=torch.int8)), r"int8 \[8, 1\], wanted torch.int8 \[8, 1, 3, 3\]"),
        (spoil(scale=torch.zeros(8)), "one positive scale per output channel, 8 of them"),
        (spoil(scale=torch.ones(7)), "one positive scale per output channel, 8 of them"),
        (spoil(input=Affine(0.0, 0)), "has a grid that is none"),
        (spoil(output=Affine(1.0, 256)), "has a grid that is none"),
        (spoil("2.weight", weight=torch.ones(8, 8, 3, 3, dtype=torch.int8)), "makes pruned weights nonzero"),
    ],
)
def test_bad_plans_are_refused(change, message):
    with pytest.raises(PruneryError, match=message):
        quantize(Rounded(change), toy_checkpoint((0,), masked=True), {})


def test_a_method_that_changes_weights_is_refused():
    class Careless(Rounded):
        def plan(self, weights, measured):
            weights["0.weight"].mul_(2)
            return super().plan(weights, measured)

    parent = toy_checkpoint((0,))
    before = copy.deepcopy(parent.networks[0].state_dict())
    with pytest.raises(PruneryError, match=r"changed the weight 0\.weight"):
        quantize(Careless(), parent, {})
    assert torch.equal(parent.networks[0].state_dict()["0.weight"], before["0.weight"])


def test_quantizing_twice_is_refused():
    parent = toy_checkpoint((0,))
    child = parent.child(quantize(Rounded(), parent, {}), {})
    with pytest.raises(PruneryError, match=r"seed 0: 0\.weight is quantized already: quantize once"):
        quantize(Rounded(), child, {})


def test_nan_and_missing_measurements_are_refused():
    parent = toy_checkpoint((0,))
    with pytest.raises(PruneryError, match="needs calibrate=activations, which was not measured"):
        quantize(registry().configured("quantize", "ptq", {}), parent, {})
    parent.networks[0][0].bias.data[0] = float("nan")
    with pytest.raises(PruneryError, match=r"0\.bias holds NaN"):
        quantize(Rounded(), parent, {})


@pytest.mark.parametrize("settings", [{}, {"range": "percentile"}, {"bits": 4, "activations": "symmetric"}])
def test_one_image_is_enough_to_calibrate(settings):
    parent = checkpoint_of(normed())
    found = calibrate(registry().configured("calibrate", "activations", {"samples": 1}), parent, toy_images())
    method = registry().configured("quantize", "ptq", settings)
    child = quantize(method, parent, {0: {"activations": found[0]}})[0].network
    assert accuracy(child) > 0.7


def test_four_bits_of_both_are_stored_in_half_of_eight(tmp_path):
    parent = checkpoint_of(normed())
    eight, four = (ptq(parent, bits=bits, range="percentile", percentile=99.5) for bits in (8, 4))
    assert four.replicas[0].edits[-1]["bits"] == 4
    found = [sizes(one.networks[0], parent.origin.spec)["layers"]["conv2.weight"] for one in (eight, four)]
    assert found[0]["bits"] - found[1]["bits"] == 4 * 8 * 8 * 9
    assert found[1]["dtype"] == "int4"
    save(four, tmp_path)
    again = load(tmp_path, lambda origin: type(parent.networks[0])()).networks[0].eval()
    inputs = next(toy_images().batches("test", 64))[0]
    with torch.no_grad():
        logits = again(inputs)
        assert torch.equal(logits, four.networks[0](inputs))
    assert len(logits.unique()) <= 16
    assert accuracy(again) > 0.7


def test_replicas_are_quantized_each_by_itself():
    parent = toy_checkpoint((0, 3))
    method = registry().configured("quantize", "ptq", {})
    children = quantize(method, parent, measured_by(method, parent))
    assert list(children) == [0, 3]
    scales = [child.network[0].get_buffer("weight/scale") for child in children.values()]
    assert not torch.equal(*scales)
    assert torch.allclose(scales[1], parent.replicas[3].network[0].weight.flatten(1).abs().amax(1) / 127)
