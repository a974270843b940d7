"""Channels removed from checkpoints: what is recorded, what is read back, what a control looks like, who may follow."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from prunery import ChannelPruner, Layer, PruneryError, toys
from prunery.checkpoint import Replica, load, save
from prunery.contract import BASES
from prunery.coupling.ranking import channel_layers, group_scores
from prunery.coupling.trials import proved_structure, scrambled
from prunery.distill import distill
from prunery.edits import cut_channels, replay
from prunery.finetune import finetune
from prunery.gates import check as pass_gates
from prunery.identity import identity
from prunery.layers import layer_of
from prunery.prune import prune
from prunery.quantize import quantize
from prunery.registry import registry
from prunery.sizes import sizes
from prunery.workflow import Workflow


class Half(ChannelPruner):
    """Keeps the first half of every group but those named."""

    name = "half"

    def __init__(self, settings=None, zero=False, answer=None):
        super().__init__(settings)
        self.zero, self.answer, self.seen = zero, answer, {}

    @property
    def zeroes(self):
        return self.zero

    def keep(self, structure, layers, measured, generator):
        self.seen = layers
        if self.answer is not None:
            return self.answer
        return {name: torch.arange(len(group)) < (len(group) + 1) // 2 for name, group in structure.groups.items()}


class DifferByChance(ChannelPruner):
    """Keeps as many units as chance says."""

    name = "chance"

    def keep(self, structure, layers, measured, generator):
        kept = {name: torch.rand(len(group), generator=generator) > 0.5 for name, group in structure.groups.items()}
        return {name: mask | (torch.arange(len(mask)) == 0) for name, mask in kept.items()}


def pruned(parent, method=None):
    method = method or Half()
    replicas = prune(method, parent, {})
    pass_gates(method, parent, replicas)
    return parent.child(replicas, {})


def test_a_checkpoint_is_read_back_bit_for_bit(tmp_path):
    child = pruned(toys.toy_checkpoint(masked=True))
    again = toys.reloaded(child, tmp_path / "child")
    inputs = next(toys.toy_images().batches("test", 16))[0]
    for made, read in zip(child.networks, again.networks, strict=True):
        assert toys.same_states(toys.states(made), toys.states(read))
        assert torch.equal(made.eval()(inputs), read.eval()(inputs))
    (record,) = {
        json.dumps(replica["edits"])
        for replica in json.loads((tmp_path / "child/model.json").read_text())["replicas"].values()
    }
    assert [edit["edit"] for edit in json.loads(record)] == ["mask", "channels"]


def test_another_process_computes_the_same(tmp_path):
    checkpoint = toys.toy_checkpoint((0,))
    child = pruned(checkpoint)
    save(child, tmp_path / "child")
    inputs = next(toys.toy_images().batches("test", 4))[0]
    code = (
        "import sys, torch; from pathlib import Path; from prunery import toys; from prunery.checkpoint import load\n"
        "network = load(Path(sys.argv[1]), toys.toy_build).networks[0].eval()\n"
        "print(network(next(toys.toy_images().batches('test', 4))[0]).detach().numpy().tobytes().hex())"
    )
    said = subprocess.run([sys.executable, "-c", code, tmp_path / "child"], check=True, capture_output=True, text=True)
    assert said.stdout.strip() == child.networks[0].eval()(inputs).detach().numpy().tobytes().hex()


def test_masks_are_cut_with_their_weights():
    parent = toys.toy_checkpoint((0,), masked=True)
    network = pruned(parent).networks[0]
    old, new = parent.networks[0], network
    for key in ("2.weight", "5.weight"):
        mask = layer_of(new, key).get_buffer("weight/mask")
        assert mask.shape == new.get_parameter(key).shape != old.get_parameter(key).shape
        assert not new.get_parameter(key)[~mask].any()
    assert torch.equal(
        layer_of(new, "2.weight").get_buffer("weight/mask"), layer_of(old, "2.weight").get_buffer("weight/mask")[:4, :4]
    )


def test_held_at_zero_it_computes_the_same_and_stays_so_in_training():
    parent = toys.toy_checkpoint((0,))
    small, control = pruned(parent).networks[0], pruned(parent, Half(zero=True))
    inputs, _ = next(toys.toy_images().batches("test", 32))
    held = control.networks[0]
    assert torch.allclose(small.eval()(inputs), held.eval()(inputs), atol=1e-6)
    assert sizes(held, toys.toy_images().spec)["nonzero"] == sizes(small, toys.toy_images().spec)["nonzero"]
    tuner = registry().configured("finetune", "supervised", {"epochs": 2, "batch_size": 32})
    with toys.toy_registered():
        tuned = finetune(tuner, control, toys.toy_images(), lambda line: None)[0][0].network
    for key, mask in tuned.named_buffers():
        assert not tuned.get_parameter(key.removesuffix("/mask"))[~mask].any()
    assert not torch.equal(tuned.get_parameter("0.weight"), held.get_parameter("0.weight"))


def test_the_control_comes_back_from_disk(tmp_path):
    control = pruned(toys.toy_checkpoint((0,)), Half(zero=True))
    again = toys.reloaded(control, tmp_path / "control")
    assert toys.same_states(toys.states(control.networks[0]), toys.states(again.networks[0]))
    assert "0.bias/mask" in toys.states(again.networks[0])


def test_pruning_twice_halves_twice():
    once = pruned(toys.toy_checkpoint((0,)))
    twice = pruned(once)
    assert [layer.weight.shape[0] for layer in twice.networks[0] if hasattr(layer, "weight")][:2] == [2, 2]
    assert [edit["edit"] for edit in twice.replicas[0].edits] == ["channels", "channels"]
    assert (
        replay(toys.toy_build(twice.origin), twice.replicas[0].edits).state_dict().keys()
        == once.networks[0].state_dict().keys()
    )


def test_replicas_may_come_to_differ_in_shape(tmp_path):
    child = toys.reloaded(pruned(toys.toy_checkpoint((0, 1, 2)), DifferByChance()), tmp_path / "child")
    assert len({str([value.shape for value in network.state_dict().values()]) for network in child.networks}) > 1
    images = toys.toy_images()
    tuner = registry().configured("finetune", "supervised", {"epochs": 1, "batch_size": 32})
    teacher = registry().configured("distill", "kd", {"epochs": 1, "batch_size": 32})
    with toys.toy_registered():
        tuned = child.child(dict(finetune(tuner, child, images, lambda line: None)[0]), {})
        taught, _ = distill(teacher, tuned, toys.toy_checkpoint((0, 1, 2)), images, lambda line: None)
        quantizer = registry().configured("quantize", "ptq", {})
        stored = quantize(quantizer, tuned, toys.measured_by(quantizer, tuned))
    assert list(taught) == list(stored) == [0, 1, 2]
    for seed, replica in tuned.replicas.items():
        assert stored[seed].network.get_buffer("0.weight").shape == replica.network.get_parameter("0.weight").shape


def test_shared_weights_stay_shared():
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem, self.one, self.two, self.head = (
                nn.Linear(64, 6),
                nn.Linear(6, 6),
                nn.Linear(6, 6),
                nn.Linear(6, 4),
            )
            self.two.weight = self.one.weight

        def forward(self, x):
            return self.head(self.two(self.one(self.stem(x.flatten(1))).relu()))

    network = Tied()
    found = proved_structure(network, torch.randn(2, 1, 8, 8))
    (name,) = found.groups
    small = cut_channels(network, found.edit(network, {name: torch.arange(6) < 4}))
    assert small.one.weight is small.two.weight
    assert small.one.weight.shape == (4, 4)


def test_methods_are_shown_norms_that_alone_read_a_layer():
    network = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 3, 3), nn.Flatten(), nn.Linear(48, 4)
    )
    network[1].weight.data.copy_(torch.arange(4.0))
    parent = toys.toy_checkpoint((0,))
    parent.replicas[0] = Replica(network.eval())
    method = Half()
    prune(method, parent, {})
    assert method.seen["0.weight"].norm_scale.tolist() == [0, 1, 2, 3]
    assert method.seen["3.weight"].norm_scale is None
    assert isinstance(method.seen["0.weight"], Layer)
    assert torch.equal(method.seen["0.weight"].bias, network[0].bias)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ({"0.weigth": torch.ones(8, dtype=torch.bool)}, "unknown group '0.weigth': did you mean '0.weight'"),
        (
            {"0.weight": torch.ones(7, dtype=torch.bool)},
            r"its answer for 0.weight is torch.bool \[7\], wanted bool \[8\]",
        ),
        ({"0.weight": torch.ones(8)}, "wanted bool"),
        ({"0.weight": torch.zeros(8, dtype=torch.bool)}, "it leaves no channel of 0.weight: keep one"),
    ],
)
def test_bad_answers_name_the_method(answer, said):
    with pytest.raises(PruneryError, match=f"prune method 'half', seed 0: .*{said}"):
        prune(Half(answer=answer), toys.toy_checkpoint((0,)), {})


class Careless(Half):
    """Keeps what it should, and spoils what it was shown."""

    def keep(self, structure, layers, measured, generator):
        layers["0.weight"].weight.mul_(2)
        return super().keep(structure, layers, measured, generator)


def test_methods_may_not_change_what_they_are_shown():
    parent = toys.toy_checkpoint((0,))
    with pytest.raises(PruneryError, match=r"prune method 'half', seed 0: it, or its score, changed 0\.weight"):
        prune(Careless(), parent, {})


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        (lambda weight: [1.0] * len(weight), "a list"),
        (lambda weight: torch.ones(len(weight) - 1), r"\[7\] numbers"),
        (lambda weight: torch.full((len(weight),), torch.nan), r"\[8\] numbers"),
    ],
)
def test_scores_that_are_no_finite_number_per_channel_are_refused(answer, found):
    parent = toys.toy_checkpoint((0,))
    structure = proved_structure(parent.networks[0], parent.origin.spec.random(2, torch.Generator().manual_seed(0)))
    layers = channel_layers(parent.networks[0], structure, {}, parent.origin.spec.random(2, torch.Generator()))
    score = SimpleNamespace(name="odd", score=lambda layer, generator: answer(layer.weight))
    with pytest.raises(PruneryError, match=rf"score 'odd' answers for 0\.weight with {found}, wanted a tensor of 8"):
        group_scores(structure, layers, score, torch.Generator())


def test_keeping_everything_is_an_error():
    with pytest.raises(PruneryError, match="it promises fewer parameters"):
        pruned(toys.toy_checkpoint((0,)), Half(answer={}))


def test_a_network_of_which_nothing_can_go_says_why():
    parent = toys.toy_checkpoint((0,))
    parent.replicas[0] = Replica(nn.Sequential(nn.Flatten(), nn.Linear(64, 4)).eval())
    with pytest.raises(PruneryError, match=r"no channel of this network can be removed \(1.weight: its channels are"):
        prune(Half(), parent, {})


def test_an_edit_that_does_not_fit_is_refused(tmp_path):
    child = pruned(toys.toy_checkpoint((0,)))
    child.replicas[0].edits[-1]["keep"]["0.weight"]["0"] = [0, 99]
    save(child, tmp_path / "child")
    with pytest.raises(PruneryError, match=r"its edits do not fit its network .*dimension 0 of 0.weight has 8 indices"):
        load(tmp_path / "child", toys.toy_build)


def test_contracts_are_registered():
    assert issubclass(ChannelPruner, BASES["prune"])
    assert Half().promises() == ("parameters",)
    assert Half(zero=True).promises() == ("zeros",)


def test_the_code_and_the_needs_of_a_score_count_as_the_pruners():
    made = {score: registry().configured("prune", "channels", {"score": score}) for score in ("l1", "l2", "taylor")}
    assert len({identity(registry(), method)["fingerprint"] for method in made.values()}) == 3
    keys = {"study": "s", "bases": {"net": {"data": "digits", "model": "mlp", "train": "supervised", "seeds": "0-1"}}}
    keys |= {
        "recipes": ["net/prune=fine@0.5"],
        "calibrate": {"brief": {"method": "gradients", "settings": {"samples": 8}}},
    }
    settings = {"score": "taylor", "score_settings": {"gradients": "brief"}}
    study = Workflow(keys | {"prune": {"fine": {"method": "channels", "settings": settings}}}, Path("scripts"))
    wildcards = SimpleNamespace(base="net", parent="net/seeds=0-1", prune="fine@0.5")
    wildcards.items = lambda: [(name, value) for name, value in vars(wildcards).items() if name != "items"]
    assert study.measured("prune")(wildcards) == ["results/s/net/seeds=0-1/calibrate=brief.safetensors"]


def test_quantization_aware_training_leaves_the_control_at_zero():
    control = pruned(toys.toy_checkpoint((0,)), Half(zero=True))
    tuner = registry().configured("finetune", "qat", {"epochs": 1, "batch_size": 32})
    with toys.toy_registered():
        tuned = finetune(tuner, control, toys.toy_images(), lambda line: None)[0][0].network
    masks = {key: mask for key, mask in tuned.named_buffers() if key.endswith("/mask")}
    assert "0.bias/mask" in masks
    assert not any(tuned.get_parameter(key.removesuffix("/mask"))[~mask].any() for key, mask in masks.items())


def test_after_quantization_aware_training_channels_come_too_late():
    tuner = registry().configured("finetune", "qat", {"epochs": 1, "batch_size": 32})
    parent = toys.toy_checkpoint((0,))
    with toys.toy_registered():
        parent.replicas[0] = finetune(tuner, parent, toys.toy_images(), lambda line: None)[0][0]
    with pytest.raises(PruneryError, match=r"simulate quantization, which hides .*: put this step before that"):
        prune(Half(), parent, {})


def test_scrambling_leaves_the_network_alone():
    network = toys.toy_checkpoint((0,)).networks[0]
    before = toys.states(network)
    other = scrambled(network)
    assert toys.same_states(before, toys.states(network))
    assert next(other.parameters()).dtype == torch.float64
