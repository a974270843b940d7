"""Weights stored in fp16, bf16, int8 and int4: layers against plain ones, the bytes of int4, and the stage."""

import copy

import pytest
import torch
from torch import nn

from prunery import PruneryError, Quantizer
from prunery.checkpoint import Checkpoint, Origin, Replica, load, save
from prunery.data import Spec
from prunery.edits import replay, weights_edit
from prunery.formats import GridSettings, LayerSettings, layer_formats, stored_bits
from prunery.integer import IntegerLinear
from prunery.layers import compressible, quantized_layers
from prunery.network import build
from prunery.quantize import quantize
from prunery.registry import registry
from prunery.sizes import sizes
from prunery.stored import pack, unpack
from prunery.toys import measured_by, same_states, states, toy_checkpoint, toy_images, toy_registered
from prunery.weightonly import WeightConv2d, WeightLinear, WeightPlan, weight_layer, weight_plan, weight_plans

CLIPPING = [
    ("weights", {"format": "int4", "clip": 93}),
    ("mixed", {"clip": 93}),
    ("ptq", {"range": "percentile", "percentile": 93, "clip_weights": True}),
]
FORMATS = ("fp16", "bf16", "int8", "int4")
MEBIBYTE = 8 * 2**20
INPUTS = torch.randn(2, 4, 9, 9, generator=torch.Generator().manual_seed(0))


def weights(**settings) -> Quantizer:
    return registry().configured("quantize", "weights", settings)


def checkpoint_of(network: nn.Module, spec: Spec | None = None) -> Checkpoint:
    return Checkpoint(Origin("test", {}, spec or toy_images().spec), {0: Replica(network.eval())})


def filled(source: nn.Module, format_: str, **grid) -> nn.Module:
    settings = GridSettings.model_validate(grid)
    layer = weight_layer(source, format_, settings.group if "int" in format_ else None)
    layer.fill(weight_plan(source.weight.detach(), format_, settings))
    return layer


# --- int4 in bytes ---------------------------------------------------------------------------------------------------


def test_two_weights_share_a_byte_the_first_in_the_low_half():
    integers = torch.tensor([[-8, 7, -1], [0, 1, 2]], dtype=torch.int8)
    packed = pack(integers)
    assert packed.tolist() == [0x78, 0x0F, 0x21]
    assert torch.equal(unpack(packed, (2, 3)), integers)
    odd = integers.flatten()[:5]
    assert pack(odd).tolist() == [0x78, 0x0F, 0x01]
    assert torch.equal(unpack(pack(odd), (5,)), odd)


# --- layers ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("format_", FORMATS)
@pytest.mark.parametrize("mode", ["zeros", "reflect", "replicate", "circular"])
@pytest.mark.parametrize("options", [{"groups": 4, "bias": False}, {"stride": 2, "groups": 2}, {"dilation": 2}])
@torch.no_grad()
def test_convolutions_compute_with_the_stored_weight(format_, mode, options):
    source = nn.Conv2d(4, 8, 3, padding=1, padding_mode=mode, **options)
    layer = filled(source, format_)
    plain = copy.deepcopy(source)
    plain.weight.copy_(layer.real_weight())
    if source.bias is not None and "int" not in format_:
        assert layer.bias.dtype == layer.get_buffer("weight").dtype
        plain.bias.copy_(layer.real_bias())
    assert torch.equal(layer(INPUTS), plain(INPUTS))
    assert 0 < float((layer.real_weight() - source.weight).abs().max()) < 0.08 * float(source.weight.abs().max())


def test_same_padding():
    source = nn.Conv2d(4, 4, 3, padding="same", dilation=2)
    plain = copy.deepcopy(source)
    layer = filled(source, "int8")
    plain.weight.data = layer.real_weight()
    assert torch.equal(layer(INPUTS), plain(INPUTS))


@pytest.mark.parametrize(("format_", "most", "limit"), [("int8", 127, 2**-8), ("int4", 7, 2**-4)])
@pytest.mark.parametrize("group", [None, 16])
def test_integers_are_within_half_a_step_of_each_channel_or_group(format_, most, limit, group):
    source = nn.Linear(40, 5)
    layer = filled(source, format_, group=group)
    scale = layer.get_buffer("weight/scale")
    assert list(scale.shape) == ([5] if group is None else [5, 3])
    for channel in range(5):
        for start in range(0, 40, group or 40):
            part = slice(start, start + (group or 40))
            values, integers = source.weight[channel, part].tolist(), layer.stored()[channel, part].tolist()
            step = max(map(abs, values)) / most
            assert float(scale[channel] if group is None else scale[channel, start // group]) == pytest.approx(step)
            assert integers == [round(value / step) for value in values]
            assert max(map(abs, integers)) == most
    assert torch.equal(layer.real_weight() == 0, layer.stored() == 0)


def test_floats_are_casts_and_halve_the_bias_too():
    source = nn.Linear(6, 3)
    for format_, dtype in (("fp16", torch.float16), ("bf16", torch.bfloat16)):
        layer = filled(source, format_)
        assert torch.equal(layer.real_weight(), source.weight.to(dtype).float())
        assert torch.equal(layer.real_bias(), source.bias.to(dtype).float())
        assert set(layer.state_dict()) == {"weight", "bias"}


def test_clipping_and_the_least_integer():
    weight = torch.tensor([[1.0, -10.0, 2.0, 3.0], [1.0, 0.25, 0.0, -1.0]])
    plan = weight_plan(weight, "int4", GridSettings.model_validate({"clip": 87.5}))
    assert plan.scale.tolist() == pytest.approx([3 / 7, 1 / 7])  # the seventh of the eight |w| is 3
    assert plan.weight.tolist() == [[2, -7, 5, 7], [7, 2, 0, -7]]
    plan = weight_plan(weight, "int4", GridSettings.model_validate({"clip": 87.5, "lowest": "full"}))
    assert plan.weight.tolist() == [[2, -8, 5, 7], [7, 2, 0, -7]]


@pytest.mark.parametrize(("method", "settings"), CLIPPING)
def test_a_percentile_that_is_zero_would_wipe_a_pruned_layer_out(method, settings):
    parent = toy_checkpoint()
    for network in parent.networks:
        network.get_submodule("5").weight.data[1:] = 0  # 15 of 16 rows: 93.75 %
    quantizer = registry().configured("quantize", method, settings)
    with pytest.raises(PruneryError, match=r"93\.8% of 5\.weight are zero, so clipped at percentile 93 nothing"):
        quantize(quantizer, parent, measured_by(quantizer, parent))


def test_a_group_longer_than_a_channel_is_the_channel_and_takes_no_memory():
    weight = torch.randn(5, 3, 3, 3, generator=torch.Generator().manual_seed(0))
    whole, long = weight_plan(weight, "int4"), weight_plan(weight, "int4", GridSettings(group=2**40))
    assert torch.equal(long.weight, whole.weight)
    assert torch.equal(long.scale[:, 0], whole.scale)
    layer = weight_layer(nn.Conv2d(3, 5, 3), "int4", 2**40)
    layer.fill(long)
    assert torch.equal(layer.real_weight(), whole.weight * whole.scale[:, None, None, None])


def test_a_channel_of_zeros_has_a_usable_scale():
    plan = weight_plan(torch.zeros(2, 3), "int8")
    assert plan.scale.tolist() == pytest.approx([1e-8, 1e-8])
    assert not plan.weight.any()


# --- the stage -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("settings", [{"format": name} for name in FORMATS] + [{"format": "int4", "group": 32}])
def test_the_reload_is_the_same_and_zeros_stay(settings, tmp_path):
    parent = toy_checkpoint(masked=True)
    child = parent.child(quantize(weights(**settings), parent, {}), {})
    save(child, tmp_path)
    inputs = next(toy_images().batches("test", 64))[0]
    with toy_registered():
        again = load(tmp_path, build)
    for one, other, source in zip(child.networks, again.networks, parent.networks, strict=True):
        assert same_states(states(one), states(other))
        with torch.no_grad():
            assert torch.equal(one(inputs), other.eval()(inputs))
        for key, layer in quantized_layers(one):
            mask = states(source).get(f"{key}/mask")
            assert mask is None or not layer.stored()[~mask].any()
            assert set(source.state_dict()) <= set(one.state_dict())


def test_every_layer_may_have_a_format_of_its_own(tmp_path):
    parent = toy_checkpoint((0,))
    ptq = registry().configured("quantize", "ptq", {})

    class Mixed(Quantizer):
        name = "mixed"

        def plan(self, shown, measured):
            formats = {"2.weight": "fp16", "5.weight": "int4", "7.weight": "fp32"}
            return {**weight_plans(shown, formats), "0.weight": ptq.plan(shown, measured)["0.weight"]}

    child = parent.child(quantize(Mixed(), parent, measured_by(ptq, parent)), {})
    found = {key: (type(layer).__name__, layer.format) for key, layer in quantized_layers(child.networks[0])}
    assert found == {
        "0.weight": ("IntegerConv2d", "int8"),
        "2.weight": ("WeightConv2d", "fp16"),
        "5.weight": ("WeightLinear", "int4"),
    }
    assert [edit["edit"] for edit in child.replicas[0].edits] == ["integers", "weights"]
    save(child, tmp_path)
    with toy_registered():
        assert same_states(states(load(tmp_path, build).networks[0]), states(child.networks[0]))


def spoilt(**fields):
    class Spoilt(Quantizer):
        name = "spoilt"

        def plan(self, shown, measured):
            plan = weight_plan(shown["5.weight"], "int4", GridSettings.model_validate({"group": fields.get("group")}))
            return {"5.weight": WeightPlan(**{**vars(plan), **fields})}

    return Spoilt()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"weight": torch.full((16, 32), 8, dtype=torch.int8)}, r"integers beyond -8\.\.7, which int4 cannot store"),
        ({"weight": torch.zeros(16, 32)}, r"holds weights torch.float32 \[16, 32\], wanted torch.int8 \[16, 32\]"),
        ({"weight": torch.ones(16, 32, dtype=torch.int8)}, "makes pruned weights nonzero"),
        ({"scale": None}, "wants one positive scale per output channel, 16 of them"),
        ({"group": 16, "scale": torch.ones(16)}, "wants one positive scale per group of 16, 16 x 2 of them"),
        ({"format": "int3"}, "has the format 'int3', which is none of fp16, bf16, int8, int4"),
        ({"format": "fp16", "weight": torch.full((16, 32), torch.inf).half()}, "fp16 ends at 65504, so use bf16"),
    ],
)
def test_bad_plans_are_refused(fields, message):
    parent = toy_checkpoint((0,), masked=True)
    with pytest.raises(PruneryError, match=f"quantize method 'spoilt', seed 0: its plan for 5.weight .*{message}"):
        quantize(spoilt(**fields), parent, {})


class Odd(nn.Module):
    """A layer with a forward of its own, one whose weight something else reads, and a plain one."""

    def __init__(self):
        super().__init__()

        class Doubled(nn.Linear):
            def forward(self, inputs):
                return 2 * super().forward(inputs)

        self.own, self.read, self.plain = Doubled(64, 8), nn.Linear(8, 8), nn.Linear(8, 4)

    def forward(self, images):
        return self.plain(nn.functional.linear(self.own(images.flatten(1)), self.read.weight).relu())


def test_layers_without_another_format_stay_and_cannot_be_named():
    parent = checkpoint_of(Odd())
    child = quantize(weights(format="int4"), parent, {})[0].network
    assert [key for key, _ in quantized_layers(child)] == ["plain.weight"]
    assert isinstance(child.plain, WeightLinear)
    own = (
        r"own\.weight cannot be int4: its layer is a Doubled, whose forward is its own and stays in fp32: take 'own\*' "
    )
    with pytest.raises(PruneryError, match=own):
        quantize(weights(formats={"own*": "int4"}), parent, {})
    with pytest.raises(PruneryError, match=r"read\.weight cannot be int8: its layer is a Linear that does not run"):
        quantize(weights(formats={"read.weight": "int8"}), parent, {})


def test_quantized_weights_are_not_quantized_again():
    parent = toy_checkpoint((0,))
    child = parent.child(quantize(weights(format="fp16"), parent, {}), {})
    assert isinstance(child.networks[0][0], WeightConv2d)
    with pytest.raises(PruneryError, match=r"0\.weight is quantized already: quantize once in a recipe"):
        quantize(weights(), child, {})
    assert not any(isinstance(layer, IntegerLinear) for layer in child.networks[0].modules())


# --- sizes -----------------------------------------------------------------------------------------------------------


def vgg() -> nn.Module:
    """The published VGG-11 for a hundred classes, its values not set."""
    with torch.device("meta"):
        network: nn.Module = (
            registry()
            .configured("model", "vgg", {"variant": "imagenet", "init": "torch"})
            .build(Spec("image", (3, 224, 224), 100))
        )
    return network


@pytest.mark.parametrize(
    ("formats", "mebibytes"),
    [
        ({}, "492.77"),
        ({"*": "fp16"}, "246.38"),
        ({"*": "bf16"}, "246.38"),
        ({"*": "int8"}, "123.27"),
        ({"*": "int4"}, "61.67"),
        ({"*": "int4", "features.0.*": "fp16", "classifier.6.*": "fp16"}, "62.26"),
        ({"*": "int4", "classifier.[06].*": "fp16", "features.18.*": "fp16"}, "212.61"),
    ],
)
def test_the_published_sizes_of_vgg11(formats, mebibytes):
    network = vgg()
    layers = {key: tuple(layer.weight.shape) for key, layer in compressible(network)}
    chosen = layer_formats(layers, LayerSettings.model_validate({"formats": formats}), "fp32")
    expected = sum(stored_bits(shape, chosen[key]) for key, shape in layers.items())
    assert f"{expected / MEBIBYTE:.2f}" == mebibytes
    plans = {key: WeightPlan(name, torch.empty(0)) for key, name in chosen.items() if name != "fp32"}
    replay(network, [weights_edit(plans)])
    assert sum(8 * value.numel() * value.element_size() for value in network.state_dict().values()) == expected


def test_sizes_count_what_is_stored():
    parent = toy_checkpoint((0,), masked=True)
    before = sizes(parent.networks[0], parent.origin.spec)
    child = quantize(weights(format="int4", first_last="bf16"), parent, {})[0].network
    found = sizes(child, parent.origin.spec)
    for name in ("parameters", "macs", "mask_bits"):
        assert found[name] == before[name]
    assert found["weight_sparsity"] >= before["weight_sparsity"]  # small weights round to zero
    assert found["layers"]["5.weight"]["dtype"] == "int4"
    assert found["layers"]["5.weight"]["parameters"] == 16 * 32
    assert found["layers"]["5.weight"]["bits"] == 16 * 32 * 4 + 16 * 32
    assert found["layers"]["7.weight"]["bits"] == 16 * 4 * 16
    shapes = {key: tuple(layer.shape) for key, layer in quantized_layers(child)}
    formats = dict(zip(shapes, ("bf16", "int4", "int4", "bf16"), strict=True))
    assert found["bits"] == sum(stored_bits(shape, formats[key]) for key, shape in shapes.items())
