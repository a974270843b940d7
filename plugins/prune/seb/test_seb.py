"""Numbers of spectral edge budgeting against the formulas written out."""

import pytest
import torch

from prunery.budgeting import budget, layer_types, layer_weights, regime_of, standardised
from prunery.guarding import headroom
from prunery.prune import generator_of
from prunery.registry import registry

KEYS = ["blocks.0.attn.qkv.weight", "blocks.0.mlp.fc1.weight", "head.weight"]


def configured(**settings):
    return registry().configured("prune", "seb", settings)


@pytest.mark.parametrize(
    ("regime", "sparsity", "signal", "betas", "end"),
    [
        ("four_regime", 0.20, "hill", (0.5, 0.5, 0.5), 0.30),
        ("four_regime", 0.21, "sigma_plus", (1.0, 1.0, 1.0), 0.50),
        ("four_regime", 0.40, "sigma_plus", (1.0, 1.0, 1.0), 0.50),
        ("four_regime", 0.55, "sigma_plus", (1.25, 1.25, 1.25), 0.70),
        ("four_regime", 0.56, "sigma_plus", (1.0, 2.0, 1.5), 0.85),
        ("final", 0.29, "sigma_plus", (0.0, 0.0, 0.0), 0.50),
        ("final", 0.30, "sigma_plus", (1.0, 1.0, 1.0), 0.50),
    ],
)
def test_published_tables(regime, sparsity, signal, betas, end):
    found = regime_of(configured(regime=regime, sparsity=sparsity).settings)
    assert (found.signal, found.decay_end, found.decay_power) == (signal, end, 1.0)
    assert tuple(found.beta[kind] for kind in ("attention", "mlp", "other")) == betas


def test_weights_of_layers_by_hand():
    """Signals 1, 2, 3: z = -+sqrt(3/2). At s = 0.6, d = 1 - 0.6/0.85 = 5/17."""
    settings = configured(sparsity=0.6).settings
    z = standardised(dict(zip(KEYS, (1.0, 2.0, 3.0), strict=True)), "mean")
    types = layer_types(KEYS, settings.attention, settings.mlp)
    assert list(types.values()) == ["attention", "mlp", "other"]
    found = layer_weights(z, types, regime_of(settings), 0.6, 0.1)
    root, decay = 1.5**0.5, 5 / 17
    assert list(found.values()) == pytest.approx([1 - decay * root, 1.0, 1 + 1.5 * decay * root])


def test_protection_has_a_floor():
    regime = regime_of(configured(regime="fixed", beta_other=50.0, decay_end=1.0).settings)
    found = layer_weights({"a": -1.0, "b": 1.0}, {"a": "other", "b": "other"}, regime, 0.5, 0.1)
    assert found == {"a": 0.1, "b": 26.0}


def test_missing_signals():
    signals = {"a": 1.0, "b": 3.0, "c": None, "d": float("nan")}
    assert standardised(signals, "mean") == {"a": -1.0, "b": 1.0, "c": 0.0, "d": 0.0}
    raw = standardised(signals, "zero")  # 1, 3, 0, 0: mean 1, variance 1.5
    assert list(raw.values()) == pytest.approx([0.0, 2 / 1.5**0.5, -1 / 1.5**0.5, -1 / 1.5**0.5])
    assert standardised({"a": 2.0, "b": 2.0}, "mean") == {"a": 0.0, "b": 0.0}
    assert standardised({"a": None}, "mean") == {"a": 0.0}


def test_bert_names_have_types():
    names = ("attention.output.dense.weight", "intermediate.dense.weight", "output.dense.weight", "pooler.weight")
    settings = configured().settings
    assert list(layer_types(names, settings.attention, settings.mlp).values()) == ["attention", "mlp", "mlp", "other"]


@pytest.fixture
def weights():
    generator = torch.Generator().manual_seed(0)
    return {key: torch.randn(40, 30, generator=generator) for key in KEYS}


def measured(edges):
    return {"mp": {key: {"sigma_plus": edge, "hill": 2.0} for key, edge in zip(KEYS, edges, strict=True)}}


def test_whole_method_is_a_scaled_sort(weights):
    method = configured(sparsity=0.45)
    found = method.masks(weights, measured((1.0, 2.0, 3.0)), generator_of(0))
    reach, root = 1.25 * (1 - 0.45 / 0.70), 1.5**0.5
    scale = (1 - reach * root, 1.0, 1 + reach * root)
    scores = torch.stack([weights[key].abs() / w for key, w in zip(KEYS, scale, strict=True)])
    threshold = scores.flatten().sort().values[int(0.45 * 3600)]
    for key, score in zip(KEYS, scores, strict=True):
        assert torch.equal(found[key], score >= threshold)
    dropped = [int((~found[key]).sum()) for key in KEYS]
    assert sum(dropped) == 1620
    assert dropped == sorted(dropped)  # the higher the edge, the more is pruned


def test_beyond_the_decay_it_is_magnitude(weights):
    wanted = registry().configured("prune", "magnitude", {"sparsity": 0.9}).masks(weights, {}, generator_of(0))
    found = configured(sparsity=0.9).masks(weights, measured((1.0, 2.0, 3.0)), generator_of(0))
    assert all(torch.equal(found[key], wanted[key]) for key in KEYS)


def test_repeated_pruning_counts_what_is_zero(weights):
    rows = measured((1.0, 2.0, 3.0))
    first = configured(sparsity=0.3).masks(weights, rows, generator_of(0))
    left = {key: weights[key] * first[key] for key in KEYS}
    second = configured(sparsity=0.5).masks(left, rows, generator_of(0))
    assert sum(int((~mask).sum()) for mask in second.values()) == 1800
    assert not any((second[key] & ~first[key]).any() for key in KEYS)


def test_needs_follow_the_setting():
    assert configured().needs() == ("dense:spectral_fit=mp",)
    assert configured(fit="coded", spectra="parent").needs() == ("spectral_fit=coded",)
    assert configured(guards=["gradient"]).needs() == ("dense:spectral_fit=mp", "calibrate=gradients")


def test_guards_shield_layers(weights):
    """Steep gradients: the last layer alone is above the 75 % quantile. Bulk 0.9: 1.06; energy 0.65 above: 0.92."""
    rows = measured((1.0, 1.0, 1.0))  # no signal: w = 1 everywhere
    rows["mp"][KEYS[0]] |= {"bulk_fraction": 0.9, "outlier_mass": 0.65}
    rows["mp"][KEYS[1]] |= {"bulk_fraction": 0.4, "outlier_mass": 0.1}
    rows["gradients"] = {key: {"fisher": torch.full((40, 30), 1.0 + number)} for number, key in enumerate(KEYS)}
    for guards, wanted in (
        (["gradient"], [1.0, 1.0, 0.7]),
        (["bulk"], [1.06, 1.0, 1.0]),
        (["spikes"], [0.92, 1.0, 1.0]),
        (["bulk", "spikes", "gradient", "bulk"], [1.06 * 0.92, 1.0, 0.7]),
    ):
        found = budget(weights, rows, configured(guards=guards).settings)
        assert list(found.values()) == pytest.approx(wanted), guards
    assert budget(weights, rows, configured(guards=["gradient"], floor=0.8).settings)[KEYS[2]] == 0.8


def test_headroom_by_hand():
    assert headroom(torch.eye(4)) == pytest.approx((0.25 + 1.0) / 2)  # 4 of 16 entries; full effective rank
    assert headroom(torch.ones(4, 8)) == pytest.approx((1.0 + 0.25) / 2)  # dense; one singular value
    single = torch.zeros(10, 10)
    single[0, 0] = 1
    assert headroom(single) == 0.25
    uneven = torch.diag(torch.tensor([3.0, 1.0]))  # shares 3/4 and 1/4
    assert headroom(uneven) == pytest.approx((0.5 + (4 / 3) ** 0.75 * 4**0.25 / 2) / 2)


def test_spectra_of_the_dense_network_are_read_once_for_a_whole_recipe(weights):
    """What is measured of the dense network weighs the layers of every later one, whatever is zero there."""
    rows = measured((1.0, 2.0, 3.0))
    thinned = {key: weight * (weight.abs() > 1) for key, weight in weights.items()}
    settings = configured(sparsity=0.45).settings
    assert budget(weights, rows, settings) == budget(thinned, rows, settings)
