"""Layers whose inputs are gathered in an order of their own: the order outlives whatever is done to the network."""

from __future__ import annotations

import copy
import subprocess
import sys

import onnxruntime
import pytest
import torch
from prunery_plugins.backend.openvino.core import Compiled
from torch import nn

from prunery import ChannelPruner, Projection, Projector, PruneryError, gates, toys
from prunery.checkpoint import Replica, save
from prunery.distill import distill
from prunery.edits import permute_edit, replay
from prunery.export import to_onnx
from prunery.features import hidden, listening
from prunery.finetune import finetune
from prunery.layers import layer_of, weights
from prunery.permuting import ORDER, as_read, order_after, reorder
from prunery.prune import prune
from prunery.quantize import quantize
from prunery.registry import registry
from prunery.reordering import check_orders
from prunery.sizes import sizes

KEYS = ("2.weight", "5.weight", "7.weight")
INPUTS = next(toys.toy_images().batches("test", 16))[0]


class Shuffle(Projector):
    """Puts the inputs of some layers into an order drawn at random, and changes nothing else."""

    name = "shuffle"

    def __init__(self, keys=KEYS):
        super().__init__()
        self.keys = keys

    def project(self, weights, dense, measured, generator):
        orders = {key: torch.randperm(weights[key].shape[1], generator=generator) for key in self.keys}
        return {key: Projection(weights[key][:, order], None, order) for key, order in orders.items()}


class Half(ChannelPruner):
    """Keeps every other unit of each group."""

    name = "half"

    def keep(self, structure, layers, measured, generator):
        return {name: torch.arange(len(group)) % 2 == 0 for name, group in structure.groups.items()}


def shuffled(parent):
    child = parent.child(prune(Shuffle(), parent, {}), {})
    gates.check(Shuffle(), parent, child.replicas)
    return child


def logits(network, inputs=INPUTS):
    with torch.no_grad():
        return network.eval()(inputs)


@pytest.fixture
def parent():
    return toys.toy_checkpoint((0, 1, 2), masked=True)


@pytest.fixture
def child(parent):
    return shuffled(parent)


def test_the_network_computes_what_it_did(parent, child):
    for before, after in zip(parent.networks, child.networks, strict=True):
        assert torch.allclose(logits(after), logits(before), atol=1e-6)
        assert not torch.equal(after.get_parameter("5.weight"), before.get_parameter("5.weight"))
        for key in KEYS:
            layer = layer_of(after, key)
            assert not torch.equal(layer.get_buffer(ORDER), torch.arange(len(layer.get_buffer(ORDER))))
            assert torch.equal(as_read(layer), weights(before)[key])
    mask, order = (layer_of(child.networks[0], "5.weight").get_buffer(name) for name in ("weight/mask", ORDER))
    assert torch.equal(mask, layer_of(parent.networks[0], "5.weight").get_buffer("weight/mask")[:, order])
    assert child.replicas[0].edits[-1] == {"edit": "permute", "keys": list(KEYS)}


def test_orders_of_orders(parent, child):
    again = shuffled(child)
    assert again.replicas[0].edits == child.replicas[0].edits
    assert torch.allclose(logits(again.networks[0]), logits(parent.networks[0]), atol=1e-6)
    first, second = (layer_of(one.networks[0], "5.weight").get_buffer(ORDER) for one in (child, again))
    assert not torch.equal(first, second)


def test_another_process_reads_the_same(child, tmp_path):
    save(child, tmp_path / "child")
    code = (
        "import sys; from pathlib import Path; from prunery import toys; from prunery.checkpoint import load\n"
        "network = load(Path(sys.argv[1]), toys.toy_build).networks[1].eval()\n"
        "print(network(next(toys.toy_images().batches('test', 16))[0]).detach().numpy().tobytes().hex())"
    )
    said = subprocess.run([sys.executable, "-c", code, tmp_path / "child"], check=True, capture_output=True, text=True)
    assert said.stdout.strip() == logits(child.networks[1]).numpy().tobytes().hex()


def test_training_many_at_once_keeps_every_order(parent, child, tmp_path):
    tuner = registry().configured("finetune", "supervised", {"epochs": 2, "batch_size": 32, "learning_rate": 0.01})
    with toys.toy_registered():
        plain, moved = (finetune(tuner, one, toys.toy_images(), lambda line: None)[0] for one in (parent, child))
    for seed in parent.seeds:
        network = moved[seed].network
        assert torch.allclose(logits(network), logits(plain[seed].network), atol=1e-4)
        assert not torch.allclose(logits(network), logits(child.replicas[seed].network), atol=1e-2)
        for key in KEYS:
            order = layer_of(network, key).get_buffer(ORDER)
            assert torch.equal(order, layer_of(child.replicas[seed].network, key).get_buffer(ORDER))
        mask = layer_of(network, "5.weight").get_buffer("weight/mask")
        assert not network.get_parameter("5.weight")[~mask].any()
    made = child.child(dict(moved), {})
    again = toys.reloaded(made, tmp_path / "tuned")
    assert all(torch.equal(logits(one), logits(two)) for one, two in zip(made.networks, again.networks, strict=True))


def test_distillation_compares_features_in_the_order_of_the_network(parent, child):
    network, original = child.networks[0], parent.networks[0]
    wanted = [(feature.layer, "input") for feature in hidden(network, INPUTS)]
    with listening(network, wanted) as heard, listening(original, wanted) as before:
        logits(network)
        logits(original)
    for place in wanted:
        assert torch.allclose(heard[place], before[place], atol=1e-6)
    teacher = registry().configured("distill", "kd", {"epochs": 1, "batch_size": 32})
    with toys.toy_registered():
        taught, _ = distill(teacher, child, parent, toys.toy_images(), lambda line: None)
    assert ORDER in layer_of(taught[0].network, "5.weight")._buffers


@pytest.mark.parametrize(
    ("name", "settings"),
    [("ptq", {}), ("weights", {"format": "int8"}), ("weights", {"format": "bf16"}), ("weights", {"format": "int4"})],
)
def test_quantized_networks_read_their_inputs_in_order(parent, child, name, settings, tmp_path):
    method = registry().configured("quantize", name, settings)
    plain, moved = (quantize(method, one, toys.measured_by(method, one)) for one in (parent, child))
    for seed in parent.seeds:
        wanted = logits(plain[seed].network)
        assert torch.allclose(logits(moved[seed].network), wanted, atol=0.02 * float(wanted.abs().max()))
    again = toys.reloaded(child.child(moved, {}), tmp_path / "stored")
    assert torch.equal(logits(again.networks[0]), logits(moved[0].network))
    path = to_onnx(moved[0].network, INPUTS[:2], tmp_path / "network.onnx")
    found, wanted = Compiled(path, 1)(INPUTS[:2]), logits(moved[0].network, INPUTS[:2])
    assert torch.allclose(found, wanted, atol=0.02 * float(wanted.abs().max()))


def test_simulated_quantization_and_back(parent, child):
    tuner = registry().configured("finetune", "qat", {"epochs": 1, "batch_size": 32})
    with toys.toy_registered():
        tuned = child.child(dict(finetune(tuner, child, toys.toy_images(), lambda line: None)[0]), {})
    method = registry().configured("quantize", "qat", {})
    stored = quantize(method, tuned, toys.measured_by(method, tuned))
    for seed in tuned.seeds:
        order = layer_of(stored[seed].network, "5.weight").get_buffer(ORDER)
        assert torch.equal(order, layer_of(child.replicas[seed].network, "5.weight").get_buffer(ORDER))
        wanted = logits(tuned.replicas[seed].network)
        assert torch.allclose(logits(stored[seed].network), wanted, atol=0.03 * float(wanted.abs().max()))


def test_runtimes_gather_as_eager_does(child, tmp_path):
    path, wanted = to_onnx(child.networks[0], INPUTS[:4], tmp_path / "network.onnx"), logits(child.networks[0])[:4]
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    (found,) = onnxruntime.InferenceSession(path, options).run(None, {"input": INPUTS[:4].numpy()})
    assert torch.allclose(torch.from_numpy(found), wanted, atol=1e-5)
    assert torch.allclose(Compiled(path, 1)(INPUTS[:4]), wanted, atol=1e-5)


def test_channels_may_be_removed_afterwards(parent, child, tmp_path):
    plain, moved = (one.child(prune(Half(), one, {}), {}) for one in (parent, child))
    for before, after in zip(plain.networks, moved.networks, strict=True):
        assert torch.allclose(logits(after), logits(before), atol=1e-6)
        for key in KEYS:
            layer = layer_of(after, key)
            assert torch.equal(as_read(layer), weights(before)[key])
            assert len(layer.get_buffer(ORDER)) == layer.get_parameter("weight").shape[1]
    assert sizes(moved.networks[0], toys.toy_images().spec) == sizes(plain.networks[0], toys.toy_images().spec) | {
        "bits": sizes(moved.networks[0], toys.toy_images().spec)["bits"],
        "layers": sizes(moved.networks[0], toys.toy_images().spec)["layers"],
    }
    again = toys.reloaded(moved, tmp_path / "moved")
    assert torch.equal(logits(again.networks[2]), logits(moved.networks[2]))


def test_channels_that_are_left_are_numbered_anew():
    assert order_after(torch.tensor([4, 2, 0, 3, 1]), torch.tensor([0, 1, 4])).tolist() == [2, 1, 0]


def test_weights_that_are_shared_move_together():
    network = nn.Sequential(nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 6))
    network[2].weight = network[0].weight
    moved = replay(copy.deepcopy(network), [permute_edit(["0.weight"])])
    order = torch.tensor([3, 1, 0, 5, 4, 2])
    reorder(moved[0], order)
    inputs = torch.randn(4, 6)
    assert torch.allclose(moved(inputs), network(inputs), atol=1e-6)
    assert torch.equal(moved[2].get_buffer(ORDER), order)


def test_grouped_convolutions_move_within_their_groups():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(6, 4, 3, groups=2), nn.Flatten())
    check_orders(network, {"0.weight": torch.tensor([2, 0, 1])}, torch.randn(2, 6, 4, 4), "me")


class Reads(nn.Module):
    """Reads the weight of a layer without calling the layer."""

    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(4, 4)

    def forward(self, x):
        return nn.functional.linear(x, self.inner.weight)


class Tied(nn.Module):
    """An embedding whose weight is that of the last layer."""

    def __init__(self):
        super().__init__()
        self.table, self.head = nn.Embedding(5, 4), nn.Linear(4, 5)
        self.head.weight = self.table.weight

    def forward(self, x):
        return self.head(self.table(x))


def test_weights_that_others_read_stay():
    order = torch.tensor([1, 0, 2, 3])
    with pytest.raises(PruneryError, match=r"me: the inputs of inner\.weight cannot change places, its weight is read"):
        check_orders(Reads(), {"inner.weight": order}, torch.randn(2, 4), "me")
    with pytest.raises(PruneryError, match=r"head\.weight cannot change places, a Embedding shares them"):
        replay(Tied(), [permute_edit(["head.weight"])])


def test_orders_are_tried_where_they_are_made():
    parent = toys.toy_checkpoint((0,))
    parent.replicas[0] = Replica(nn.Sequential(nn.Flatten(), nn.Linear(64, 4), Reads()).eval())
    with pytest.raises(PruneryError, match=r"prune method 'shuffle', seed 0: the inputs of 2\.inner\.weight cannot"):
        prune(Shuffle(("1.weight", "2.inner.weight")), parent, {})
