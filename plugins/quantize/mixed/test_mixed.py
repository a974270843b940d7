"""Choices against brute force and the published sizes; what is stored follows the choice."""

import itertools

import numpy as np
import pytest
import torch
from prunery_plugins.quantize.mixed.core import Option, cheapest

from prunery import toys
from prunery.data import Spec
from prunery.errors import PruneryError
from prunery.formats import stored_bits
from prunery.layers import compressible, quantized_layers
from prunery.quantize import quantize
from prunery.registry import registry


def mixed(amount=None, **settings):
    return registry().configured("quantize", "mixed", settings, amount)


def brute_force(options, budget):
    """The least sum of rises over all choices that fit, and the fewest bits that reach it."""
    best = None
    for choice in itertools.product(*options.values()):
        bits, rise = sum(option.bits for option in choice), sum(option.rise for option in choice)
        if bits <= budget and (best is None or (rise, bits) < best):
            best = rise, bits
    return best


def random_options(seed, layers=6):
    random = np.random.default_rng(seed)
    options = {}
    for index in range(layers):
        weights = int(random.integers(1, 400)) * 8
        rises = np.sort(random.exponential(size=4)) * random.exponential()
        widths = {"fp32": 32, "fp16": 16, "int8": 8, "int4": 4}
        options[str(index)] = [
            Option(name, bits * weights, float(rise)) for (name, bits), rise in zip(widths.items(), rises, strict=True)
        ]
    return options


@pytest.mark.parametrize("seed", range(12))
def test_no_choice_within_the_budget_is_better(seed):
    options = random_options(seed)
    least, most = (sum(pick(o.bits for o in each) for each in options.values()) for pick in (min, max))
    for part in (0.0, 0.13, 0.5, 0.77, 1.0):
        budget = int(least + part * (most - least))
        chosen = cheapest(options, budget).values()
        found = sum(option.rise for option in chosen), sum(option.bits for option in chosen)
        assert found[1] <= budget
        assert found[0] == pytest.approx(brute_force(options, budget)[0], rel=1e-9)


def test_a_budget_that_is_met_to_the_bit_and_large_numbers():
    options = {
        "big": [Option("fp16", 16 * 102760448, 0.0), Option("int4", 4 * 102760448, 0.5)],
        "small": [Option("fp16", 16 * 1728, 0.0), Option("int4", 4 * 1728, 0.001)],
    }
    exact = 4 * 102760448 + 16 * 1728
    assert [option.format for option in cheapest(options, exact).values()] == ["int4", "fp16"]
    assert [option.format for option in cheapest(options, exact - 1).values()] == ["int4", "int4"]


def test_of_equal_losses_the_smaller_is_taken():
    options = {"a": [Option("fp16", 16, 0.0), Option("int8", 8, 0.0), Option("int4", 4, 0.0)]}
    assert cheapest(options, 100)["a"].format == "int4"


# --- rules -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def vgg():
    """The layers of VGG-11 as published for ImageNet, with 100 classes, without memory for their values."""
    with torch.device("meta"):
        model = registry().configured("model", "vgg", {"depth": 11, "variant": "imagenet"})
        network = model.build(Spec("image", (3, 224, 224), 100))
    return {key: layer.get_parameter("weight") for key, layer in compressible(network)}


def mebibytes(weights, formats):
    return sum(stored_bits(weights[key].shape, formats[key]) for key in weights) / 8 / 2**20


def test_first_and_last_have_the_published_size(vgg):
    formats = mixed().chosen(vgg, {})
    assert [key for key, format_ in formats.items() if format_ == "fp16"] == [
        "features.0.weight",
        "classifier.6.weight",
    ]
    assert round(mebibytes(vgg, formats), 2) == 62.26
    assert round(mebibytes(vgg, dict.fromkeys(vgg, "int4")), 2) == 61.67


def curvatures(vgg, traces, variances):
    return {
        "hessian": {key: {"trace": traces.get(key, 0.0), "trace_per_weight": 0.0} for key in vgg},
        "activations": {key: {"preactivation_variance": variances.get(key, 0.0)} for key in vgg},
    }


def test_three_of_eleven_layers_have_the_published_size(vgg):
    measured = curvatures(
        vgg,
        {"classifier.0.weight": 50.0, "features.18.weight": 20.0},
        {"classifier.6.weight": 9.0, "features.0.weight": 2.0},
    )
    formats = mixed(rule="hessian_activation").chosen(vgg, measured)
    kept = {key for key, format_ in formats.items() if format_ == "fp16"}
    assert kept == {"classifier.0.weight", "classifier.6.weight", "features.18.weight"}
    assert round(mebibytes(vgg, formats), 2) == 212.61


def test_scores_are_sums_of_both_on_one_scale():
    weights = {key: torch.zeros(2, 2) for key in "abcd"}
    measured = {
        "hessian": {key: {"trace": value} for key, value in zip("abcd", (-10, 0, 10, 5), strict=True)},
        "activations": {
            key: {"preactivation_variance": value} for key, value in zip("abcd", (4.0, 3.0, 0.0, 2.0), strict=True)
        },
    }
    # sums: 0 + 1, 0.5 + 0.75, 1 + 0, 0.75 + 0.5
    settings = {"rule": "hessian_activation", "high": "int8"}
    for share, wanted in ((0.25, "b"), (0.5, "bd"), (0.75, "abd")):
        formats = mixed(**settings, share=share).chosen(weights, measured)
        assert "".join(key for key in formats if formats[key] == "int8") == wanted
    with pytest.raises(PruneryError, match=r"share 0.2 of 4 layers is less than one"):
        mixed(**settings, share=0.2).chosen(weights, measured)
    with pytest.raises(PruneryError, match=r"holds no trace_per_weight of a"):
        mixed(**settings, trace="trace_per_weight").chosen(weights, measured)


def rows(**losses):
    return {
        key: {"dense_loss": 1.0, "bias": True, **{f"loss_{name}": value for name, value in each.items()}}
        for key, each in losses.items()
    }


def test_measured_losses_decide_under_a_budget():
    weights = {"a": torch.zeros(8, 100), "b": torch.zeros(8, 100), "c": torch.zeros(8, 100)}
    found = rows(a={"fp16": 1, "int4": 1.5}, b={"fp16": 1, "int4": 1.1}, c={"fp16": 1, "int4": 1.0})
    settings = {"rule": "sensitivity", "formats": ("fp16", "int4")}
    one, two = 16 * 808 + 2 * (4 * 800 + 64 * 8), 2 * 16 * 808 + (4 * 800 + 64 * 8)
    for budget, wanted in ((one, "a"), (two - 1, "a"), (two, "ab"), (10**5, "ab")):
        formats = mixed(budget / 2400, **settings).chosen(weights, {"formats": found})
        assert "".join(key for key in formats if formats[key] == "fp16") == wanted
        assert formats == mixed(size=budget / 8 / 2**20, **settings).chosen(weights, {"formats": found})
    with pytest.raises(PruneryError, match=r"budget of 4 bits per weight cannot be met: .* it takes 4.64 bits"):
        mixed(4, **settings).chosen(weights, {"formats": found})
    found["a"]["loss_int8"] = found["b"]["loss_int8"] = 1.0
    formats = mixed(rule="sensitivity", formats=("int8", "int4")).chosen(
        {key: weights[key] for key in "ab"}, {"formats": found}
    )
    assert sorted(formats.values()) == ["int4", "int4"]  # int8 takes 8.6 bits, int4 4.6; half of each is above 6
    with pytest.raises(PruneryError, match=r"did not measure c in int8: let it have mode: formats"):
        mixed(9, rule="sensitivity").chosen(weights, {"formats": found})


def test_noise_makes_no_short_format_look_better_than_a_long_one():
    weights = {"a": torch.zeros(8, 100), "b": torch.zeros(8, 100)}
    noisy = rows(a={"fp16": 1.02, "int8": 0.98, "int4": 1.3}, b={"fp16": 1.0, "int8": 1.0, "int4": 1.001})
    formats = mixed(16.2, rule="sensitivity").chosen(weights, {"formats": noisy})
    assert formats == {"a": "int8", "b": "int8"}


def test_settings_that_do_not_fit_are_refused():
    with pytest.raises(PruneryError, match=r"mixed.*two budgets"):
        mixed(5, rule="sensitivity", size=1)
    with pytest.raises(PruneryError, match="first_last knows no budget"):
        mixed(5)
    assert mixed(rule="hessian_activation").needs() == ("calibrate=hessian", "calibrate=activations")
    assert mixed(5, rule="sensitivity", allocation="mine").needs() == ("calibrate=mine",)


def test_the_stage_stores_what_was_chosen():
    with toys.toy_registered():
        parent = toys.toy_checkpoint((0,))
        child = quantize(mixed(high="bf16", exclude=("5.*",)), parent, {0: {}})
    formats = {key: layer.format for key, layer in quantized_layers(child[0].network)}
    assert formats == {"0.weight": "bf16", "2.weight": "int4", "7.weight": "bf16"}
