"""Networks of which only a reservoir is trained."""

import copy

import pytest
import torch
from torch import nn

from prunery.layers import weights
from prunery.registry import registry
from prunery.reservoir import reservoir_weights, with_reservoir
from prunery.selection import Selection, SelectionSettings
from prunery.toys import same_states, states, toy_checkpoint, toy_images
from prunery.training import fit

QUICK = SelectionSettings(epochs=2, batch_size=16, learning_rate=0.01)


def halves(network, seed=0):
    """Random masks over all compressible weights."""
    generator = torch.Generator().manual_seed(seed)
    return {key: torch.rand(weight.shape, generator=generator) < 0.5 for key, weight in weights(network).items()}


def trained(network, kept, teacher=None):
    copied = with_reservoir(network, kept)
    fit(Selection(QUICK), {0: copied}, toy_images(), False, lambda line: None, {0: teacher or copy.deepcopy(network)})
    return copied


def test_it_computes_what_the_over_pruned_network_does():
    network = toy_checkpoint().networks[0]
    kept = halves(network)
    bare = copy.deepcopy(network)
    for key, mask in kept.items():
        bare.get_parameter(key).data.masked_fill_(~mask, 0)
    before = states(network)
    inputs = next(toy_images().batches("test", 16))[0]
    assert torch.equal(with_reservoir(network, kept)(inputs), bare(inputs))
    assert same_states(states(network), before)


def test_nothing_but_the_reservoir_moves():
    network = toy_checkpoint(masked=True).networks[0]
    kept = halves(network)
    learned = trained(network, kept)
    after, before = reservoir_weights(learned, kept), weights(network)
    for key, mask in kept.items():
        assert torch.equal(after[key][mask], before[key][mask]), key
        assert float((after[key][~mask] != 0).float().mean()) > 0.4, key  # some units of the toy never fire
    assert all(torch.equal(learned.get_parameter(key), network.get_parameter(key)) for key in ("0.bias", "7.bias"))


def test_layers_that_are_not_named_are_frozen_whole():
    network = toy_checkpoint().networks[0]
    kept = {"5.weight": halves(network)["5.weight"]}
    learned = trained(network, kept)
    assert torch.equal(learned.get_parameter("2.weight"), network.get_parameter("2.weight"))
    assert not torch.equal(reservoir_weights(learned, kept)["5.weight"], network.get_parameter("5.weight"))


def test_replicas_together_learn_what_each_learns_alone():
    networks = toy_checkpoint((0, 1, 2)).networks
    masks = [halves(network, seed) for seed, network in enumerate(networks)]
    teachers = {seed: copy.deepcopy(network) for seed, network in enumerate(networks)}
    found = []
    for batched in (True, False):
        copies = {seed: with_reservoir(*pair) for seed, pair in enumerate(zip(networks, masks, strict=True))}
        fit(Selection(QUICK), copies, toy_images(), batched, lambda line: None, copy.deepcopy(teachers))
        found.append(copies)
    for seed, kept in enumerate(masks):
        together, alone = (reservoir_weights(each[seed], kept) for each in found)
        for key in kept:
            assert torch.allclose(together[key], alone[key], rtol=1e-3, atol=2e-4), (seed, key)


class Attending(nn.Module):
    """Attention that reads its layers' weights without calling them; norm and dropout on the way."""

    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(64, 8)
        self.norm = nn.BatchNorm1d(8)
        self.attention = nn.MultiheadAttention(8, 2, dropout=0.1, batch_first=True)
        self.head = nn.Linear(8, 4)

    def forward(self, inputs):
        rows = self.norm(self.inner(inputs.flatten(1)))[:, None]
        return self.head(self.attention(rows, rows, rows, need_weights=False)[0][:, 0])


def test_weights_that_are_read_without_their_layer_are_trained_too():
    torch.manual_seed(0)
    network = Attending().eval()
    kept = halves(network)
    assert "attention.out_proj.weight" in kept
    learned = trained(network, kept)
    after, before = reservoir_weights(learned, kept), weights(network)
    for key, mask in kept.items():
        assert torch.equal(after[key][mask], before[key][mask]), key
        assert bool((after[key][~mask] != 0).any()), key


def test_a_weight_that_two_layers_share_stays_whole_in_the_other():
    first, second = nn.Linear(4, 4), nn.Linear(4, 4)
    second.weight = first.weight
    network = nn.Sequential(first, second)
    learned = with_reservoir(network, {"0.weight": torch.zeros(4, 4, dtype=torch.bool)})
    assert not reservoir_weights(learned, ["0.weight"])["0.weight"].any()
    assert torch.equal(learned.get_parameter("1.weight"), first.weight)


def test_the_logit_term_is_the_mean_squared_distance():
    logits, teacher = torch.randn(2, 5, 3), torch.randn(2, 5, 3)
    labels = torch.randint(0, 3, (2, 5))
    plain, whole = (Selection(SelectionSettings(logit_weight=weight)) for weight in (0.0, 0.5))
    apart = whole.loss(logits, labels, teacher) - plain.loss(logits, labels, None)
    for replica in range(2):
        naive = sum(float((logits[replica, b, c] - teacher[replica, b, c]) ** 2) for b in range(5) for c in range(3))
        assert float(apart[replica]) == pytest.approx(0.5 * naive / 15, rel=1e-4)


def test_networks_that_simulate_quantization_keep_doing_so():
    network = toy_checkpoint().networks[0]
    learner = registry().configured("finetune", "qat", {"epochs": 1})
    from prunery.edits import replay

    simulating = replay(copy.deepcopy(network), learner.edits(network, toy_images().spec.example(2)))
    kept = halves(simulating)
    after = reservoir_weights(trained(simulating, kept), kept)
    assert all(bool((after[key][~mask] != 0).any()) for key, mask in kept.items())
