"""Curves against altering a copy of the network by hand; what lies before an altered layer runs once."""

import copy

import pytest
import torch
import torch.nn.functional as F
from prunery_plugins.calibrate.sensitivity.recording import Recording
from torch import nn

from prunery import PruneryError
from prunery.registry import registry
from prunery.sparsity import keep_highest


def method(**settings):
    return registry().configured("calibrate", "sensitivity", settings)


def measure(network, batches, **settings):
    return method(**settings).measure(network.eval(), batches)


class Block(nn.Module):
    """A residual block with everything that makes reuse hard: in-place functions, shared modules, a shortcut."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(4, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
        self.norm, self.act = nn.BatchNorm2d(4), nn.Hardswish(inplace=True)

    def forward(self, x):
        y = self.act(self.norm(self.first(x)))
        y = self.second(y)
        y += x
        self.act(y)  # its result is not used: only what it writes
        return y


@pytest.fixture
def network():
    torch.manual_seed(0)
    body = [nn.Conv2d(1, 4, 3, padding=1), Block(), Block(), nn.AdaptiveAvgPool2d(2), nn.Flatten()]
    network = nn.Sequential(*body, nn.Linear(16, 8), nn.ReLU(inplace=True), nn.Linear(8, 3)).train()
    for _ in range(3):  # batch norms with statistics of their own
        network(torch.randn(16, 1, 6, 6) * 2 + 1)
    return network.eval()


@pytest.fixture
def batches():
    generator = torch.Generator().manual_seed(0)
    return [
        (torch.randn(size, 1, 6, 6, generator=generator), torch.randint(0, 3, (size,), generator=generator))
        for size in (8, 8, 3)
    ]


def by_hand(network, batches, key, weight):
    """(accuracy, loss) with one weight replaced, over all samples at once."""
    altered = copy.deepcopy(network)
    with torch.no_grad():
        altered.get_parameter(key).copy_(weight)
        inputs, labels = (torch.cat(parts) for parts in zip(*batches, strict=True))
        logits = altered(inputs)
    return float((logits.argmax(1) == labels).float().mean()), float(F.cross_entropy(logits, labels))


def test_curves_of_weights_equal_pruning_by_hand(network, batches):
    shares = (0.0, 0.3, 0.9)
    found = measure(network, batches, shares=shares)
    assert len(found) == 7
    for key, row in found.items():
        weight = network.get_parameter(key).detach()
        assert row["share"].tolist() == pytest.approx(shares)
        for level, share in enumerate(shares):
            kept = keep_highest({key: weight.abs()}, share)[key]
            accuracy, loss = by_hand(network, batches, key, weight * kept)
            assert float(row["accuracy"][level]) == pytest.approx(accuracy)
            assert float(row["loss"][level]) == pytest.approx(loss, rel=1e-5)
        assert float(row["loss"][0]) == float(row["dense_loss"])
        assert (int(row["samples"]), int(row["weights"])) == (19, weight.numel())
    assert int(found["0.weight"]["macs"]) == 4 * 36 * 9
    assert int(found["5.weight"]["macs"]) == 16 * 8


def test_curves_of_formats_equal_rounding_by_hand(batches):
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Flatten(), nn.Linear(64, 3, bias=False))
    found = measure(network, batches, mode="formats", formats=("bf16", "int4"))
    for key, row in found.items():
        weight = network.get_parameter(key).detach()
        scale = weight.flatten(1).abs().amax(1).reshape(-1, *[1] * (weight.dim() - 1)) / 7
        rounded = (weight / scale).round() * scale
        assert float(row["loss_int4"]) == pytest.approx(by_hand(network, batches, key, rounded)[1], rel=1e-5)
    row = found["2.weight"]
    short = by_hand(network, batches, "2.weight", network[2].weight.detach().bfloat16().float())
    assert (float(row["accuracy_bf16"]), float(row["loss_bf16"])) == pytest.approx(short, rel=1e-5)
    assert (int(row["bits_bf16"]), int(row["bits_int4"])) == (16 * 192, 4 * 192 + 32 * 3)
    assert int(found["0.weight"]["bits_bf16"]) == 16 * (36 + 4)
    assert int(found["0.weight"]["bits_int4"]) == 4 * 36 + 32 * 4 + 32 * 4


def test_formats_are_measured_on_the_folded_network(batches):
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(1, 4, 3, bias=False), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(64, 3)).eval()
    network[1].running_var.copy_(torch.tensor([0.01, 1, 4, 100]))
    row = measure(network, batches, mode="formats", formats=("int8",))["0.weight"]
    assert int(row["bits_int8"]) == 8 * 36 + 32 * 4 + 32 * 4  # it has gained a bias


def test_what_lies_before_an_altered_layer_runs_once(network, batches):
    runs = []
    for name, layer in network.named_modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            layer.register_forward_pre_hook(lambda layer, args, name=name: runs.append(name))
    recording = Recording(network, batches[0][0])
    assert len(runs) == 7
    runs.clear()
    cut = recording.first_use(["5.weight"])
    with torch.no_grad():
        network[5].weight.mul_(-1)
        whole = network(batches[0][0])
    del runs[:]
    assert torch.equal(recording.replay(cut), whole)
    computed = [call.module for call in recording.calls[:cut] if call.output is None]
    assert computed  # those that write in place run again
    counted = []
    network[1].first.forward = lambda x: counted.append(x)
    assert torch.equal(recording.replay(cut), whole)
    assert not counted


@pytest.mark.parametrize("key", ["0.weight", "1.first.weight", "1.second.weight", "2.second.weight", "7.weight"])
def test_replays_equal_whole_passes_bit_for_bit(network, batches, key):
    recording = Recording(network, batches[0][0])
    cut = recording.first_use([key])
    assert cut > 0
    with torch.no_grad():
        network.get_parameter(key).mul_(-1)
        whole = network(batches[0][0])
    assert torch.equal(recording.replay(cut), whole)
    assert not torch.equal(recording.replay(len(recording.calls)), whole)


def test_shared_weights_count_from_their_first_use():
    torch.manual_seed(0)
    embedding, head = nn.Embedding(6, 4), nn.Linear(4, 6, bias=False)
    head.weight = embedding.weight

    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding, self.hidden, self.head = embedding, nn.Linear(4, 4), head

        def forward(self, tokens):
            return self.head(self.hidden(self.embedding(tokens)).mean(1))

    network, tokens = Tied().eval(), torch.randint(0, 6, (5, 3))
    recording = Recording(network, tokens)
    assert recording.calls[recording.first_use(["embedding.weight"])].module is embedding
    found = measure(network, [(tokens, torch.tensor([0, 1, 2, 3, 4]))], shares=(0.5,))
    weight = embedding.weight.detach()
    kept = keep_highest({"": weight.abs()}, 0.5)[""]
    expected = by_hand(network, [(tokens, torch.tensor([0, 1, 2, 3, 4]))], "embedding.weight", weight * kept)
    assert float(found["head.weight"]["loss"][0]) == pytest.approx(expected[1], rel=1e-5)


def test_a_weight_that_is_used_without_its_module_runs_everything():
    torch.manual_seed(0)
    network = nn.Sequential(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), nn.Flatten(), nn.Linear(24, 3))
    data = [(torch.randn(6, 3, 8), torch.randint(0, 3, (6,)))]
    found = measure(network, data, shares=(0.5,))
    key = "0.self_attn.out_proj.weight"
    kept = keep_highest({key: network.get_parameter(key).detach().abs()}, 0.5)[key]
    expected = by_hand(network, data, key, network.get_parameter(key).detach() * kept)
    assert float(found[key]["loss"][0]) == pytest.approx(expected[1], rel=1e-5)


def test_excluded_layers_and_mistakes(network, batches):
    assert set(measure(network, batches, exclude=("1.*", "2.*"), shares=(0.5,))) == {"0.weight", "5.weight", "7.weight"}
    with pytest.raises(PruneryError, match="raise `samples`"):
        measure(network, [])
    with pytest.raises(PruneryError, match=r"sensitivity.*shares.*small to large"):
        method(shares=(0.5, 0.2))
    network[7].weight.data[0, 0] = 1e6
    with pytest.raises(PruneryError, match=r"not finite with 7.weight at fp16: leave that level out"):
        measure(network, batches, mode="formats", formats=("fp16",))
