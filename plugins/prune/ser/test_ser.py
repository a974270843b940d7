"""SER against a loop in plain PyTorch, and the choice of what comes back against a sort."""

import copy
import math

import pytest
import torch
import torch.nn.functional as F

from prunery.batching import Batches, derived_seed
from prunery.errors import PruneryError
from prunery.prune import generator_of
from prunery.registry import registry
from prunery.reservoir import reservoir_weights, with_reservoir
from prunery.restoring import restored
from prunery.selection import Selection, SelectionSettings
from prunery.toys import toy_checkpoint, toy_images
from prunery.training import fit

KEYS = ["a.attn.weight", "b.mlp.weight", "c.weight"]
EDGES = {"mp": {key: {"sigma_plus": edge, "hill": 2.0} for key, edge in zip(KEYS, (1.0, 2.0, 3.0), strict=True)}}


def configured(**settings):
    return registry().configured("prune", "ser", settings)


@pytest.fixture
def weights():
    generator = torch.Generator().manual_seed(0)
    return {key: torch.randn(40, 30, generator=generator) for key in KEYS}


def test_over_prunes_as_seb_does_at_the_target(weights):
    """The layers' weights are those of the sparsity asked for, the count that of sparsity and surplus."""
    seb = registry().configured("prune", "seb", {"sparsity": 0.45})
    kept = configured(sparsity=0.45).trial(weights, EDGES, generator_of(0))
    assert sum(int((~mask).sum()) for mask in kept.values()) == int(0.48 * 3600)
    target = seb.masks(weights, EDGES, generator_of(0))
    assert not any(bool((kept[key] & ~target[key]).any()) for key in KEYS)
    more = configured(sparsity=0.4, surplus=0.1, surplus_of="pruned").trial(weights, EDGES, generator_of(0))
    assert sum(int((~mask).sum()) for mask in more.values()) == int(0.44 * 3600)


def test_weights_that_are_zero_already_are_in_the_reservoir(weights):
    weights[KEYS[0]][:20] = 0
    kept = configured(sparsity=0.3).trial(weights, EDGES, generator_of(0))
    assert not kept[KEYS[0]][:20].any()
    assert sum(int((~mask).sum()) for mask in kept.values()) == int(0.33 * 3600)


def test_what_comes_back_is_a_sort(weights):
    method = configured(sparsity=0.45)
    kept = method.trial(weights, EDGES, generator_of(0))
    before = {key: weights[key] * kept[key] for key in KEYS}
    generator = torch.Generator().manual_seed(1)
    after = {key: before[key] + torch.randn(40, 30, generator=generator) * ~kept[key] for key in KEYS}
    reach, root = 1.25 * (1 - 0.45 / 0.70), 1.5**0.5
    scale = dict(zip(KEYS, (1 - reach * root, 1.0, 1 + reach * root), strict=True))
    count = int(0.48 * 3600) - int(0.45 * 3600)
    for rho, factor in (("inverse", lambda w: 1 / w), ("weight", lambda w: w), ("one", lambda w: 1.0)):
        found = configured(sparsity=0.45, rho=rho).select(before, after, kept, EDGES, generator_of(0))
        ranked = sorted(
            ((float((after[key] - before[key]).abs()[place]) * factor(scale[key]), key, place))
            for key in KEYS
            for place in map(tuple, (~kept[key]).nonzero().tolist())
        )
        wanted = {key: kept[key].clone() for key in KEYS}
        for _, key, place in ranked[-count:]:
            wanted[key][place] = True
        assert all(torch.equal(found[key], wanted[key]) for key in KEYS), rho
        assert sum(int((~mask).sum()) for mask in found.values()) == int(0.45 * 3600)


def test_rho_decides_which_layers_get_their_weights_back(weights):
    """Equal changes everywhere: 1 / w restores in the layer with the low edge, w in the one with the high edge."""
    kept = {key: torch.arange(1200).reshape(40, 30) >= 576 for key in KEYS}
    before = {key: weights[key] * kept[key] for key in KEYS}
    after = {key: before[key] + ~kept[key] for key in KEYS}
    scale = dict(zip(KEYS, (0.5, 1.0, 1.5), strict=True))
    for rho, place in (("inverse", 0), ("weight", 2)):
        found = restored(before, after, kept, scale, configured(sparsity=0.45, rho=rho).settings)
        assert [int((found[key] & ~kept[key]).sum()) for key in KEYS] == [108 * (index == place) for index in range(3)]


def test_the_selection_phase_is_adamw_on_the_reservoir_alone():
    """Two passes over the toy data against a loop: cosine from 0.01 to a quarter, loss with the logit term."""
    network = toy_checkpoint((0,)).networks[0]
    settings = SelectionSettings(epochs=2, batch_size=32, learning_rate=0.01)
    keys = ["2.weight", "5.weight"]
    kept = {key: network.get_parameter(key).detach().abs() > 0.1 for key in keys}
    reservoir = with_reservoir(network, kept)
    teacher = copy.deepcopy(network)
    fit(Selection(settings), {0: reservoir}, toy_images(), False, lambda line: None, {0: teacher})

    naive = copy.deepcopy(network).train()
    values = [naive.get_parameter(key) for key in keys]
    for key, value in zip(keys, values, strict=True):
        value.data.masked_fill_(~kept[key], 0)
    optimizer = torch.optim.AdamW(values, settings.learning_rate, weight_decay=0.0)
    order = torch.Generator().manual_seed(derived_seed("prune/order", 0, 0))
    batches = Batches(toy_images(), settings, [order], torch.device("cpu"))
    for step, batch in enumerate(batch for _ in range(2) for batch in batches.epoch()):
        optimizer.param_groups[0]["lr"] = 0.01 * (0.25 + 0.75 * 0.5 * (1 + math.cos(math.pi * step / 8)))
        logits = naive(batch.inputs[0])
        loss = F.cross_entropy(logits, batch.labels[0]) + F.mse_loss(logits, teacher(batch.inputs[0]).detach())
        naive.zero_grad()
        loss.backward()
        for key, value in zip(keys, values, strict=True):
            value.grad.masked_fill_(kept[key], 0)
        optimizer.step()
    assert step == 7
    for key, value in zip(keys, values, strict=True):
        assert torch.allclose(reservoir_weights(reservoir, keys)[key], value, rtol=1e-3, atol=1e-4), key


def test_a_network_that_is_sparser_already_is_refused(weights):
    with pytest.raises(PruneryError, match=r"^0\.5000 of the weights are zero already, more than the sparsity 0\.4"):
        configured(sparsity=0.4).trial({key: weights[key].sign().clamp_min(0) for key in KEYS} | halved(), EDGES, None)


def halved():
    weight = torch.ones(40, 30)
    weight[:20] = 0
    return dict.fromkeys(KEYS, weight)


def test_a_surplus_beyond_all_weights_is_refused():
    with pytest.raises(PruneryError, match=r"sparsity 0\.98 and surplus 0\.03 leave no weight: lower one"):
        configured(sparsity=0.98)


def test_published_defaults():
    settings = configured().learner().settings
    assert (settings.optimizer, settings.learning_rate, settings.batch_size) == ("adamw", 8 * 5e-5, 2 * 128)
    assert (settings.final_rate, settings.least_batches, settings.logit_weight) == (0.25, 128, 1.0)
    assert (configured().settings.surplus, configured().settings.rho) == (0.03, "inverse")
    assert configured().needs() == ("dense:spectral_fit=mp",)
