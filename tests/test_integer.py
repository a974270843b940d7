"""Integer layers against exact integer arithmetic."""

import copy
import itertools

import pytest
import torch
from torch import nn

from prunery.integer import (
    Affine,
    IntegerPlan,
    dequantize_affine,
    integer_layer,
    quantize_affine,
)
from prunery.stored import dequantize_channels

INPUT, OUTPUT = Affine(0.25, 100), Affine(0.5, 7)  # powers of two: fp32 computes exactly


def grid(scale, zero_point):
    return torch.tensor(scale), torch.tensor(zero_point, dtype=torch.uint8)


def filled(source):
    """The layer's integer counterpart with weights -127..127 drawn at random and exact scales."""
    layer = integer_layer(source)
    weight = torch.randint(-127, 128, source.weight.shape, generator=torch.Generator().manual_seed(0))
    scale = 2.0 ** -torch.arange(3, 3 + len(weight)).float()
    layer.fill(IntegerPlan(weight.to(torch.int8), scale, INPUT, OUTPUT))
    return layer.eval()


def test_rounding_is_half_to_even_and_saturates():
    values = torch.tensor([-100.0, -0.5, 0.0, 0.5, 1.5, 2.5, 3.5, 1000.0])
    found = quantize_affine(values, *grid(1.0, 10))
    assert found.dtype == torch.uint8
    assert found.tolist() == [0, 10, 10, 10, 12, 12, 14, 255]
    assert dequantize_affine(found, *grid(1.0, 10)).tolist() == [-10.0, 0.0, 0.0, 0.0, 2.0, 2.0, 4.0, 245.0]
    assert quantize_affine(torch.tensor([-1.0, 0.0, 1e9]), *grid(0.5, 255)).tolist() == [253, 255, 255]


def test_channels_have_their_own_scale():
    found = dequantize_channels(torch.tensor([[-127, 2], [1, 127]], dtype=torch.int8), torch.tensor([0.5, 2.0]))
    assert found.tolist() == [[-63.5, 1.0], [2.0, 254.0]]


@torch.no_grad()
def test_linear_is_integer_arithmetic():
    source = nn.Linear(5, 3)
    source.bias.data = torch.tensor([1.0, -2.5, 0.25])
    layer, inputs = filled(source), torch.randn(2, 4, 5) * 20
    found = layer(inputs)
    assert found.shape == (2, 4, 3)
    integers = quantize_affine(inputs, *grid(INPUT.scale, INPUT.zero_point)).long() - INPUT.zero_point
    weight, scale = layer.get_buffer("weight").long(), layer.get_buffer("weight/scale")
    for row, column, out in itertools.product(range(2), range(4), range(3)):
        total = sum(int(integers[row, column, i]) * int(weight[out, i]) for i in range(5))
        real = total * INPUT.scale * float(scale[out]) + float(source.bias[out])
        wanted = min(max(round(real / OUTPUT.scale) + OUTPUT.zero_point, 0), 255)
        assert float(found[row, column, out]) == (wanted - OUTPUT.zero_point) * OUTPUT.scale


@pytest.mark.parametrize("mode", ["zeros", "reflect", "replicate", "circular"])
@pytest.mark.parametrize("options", [{"padding": 1}, {"padding": 1, "stride": 2, "groups": 2, "bias": False}])
def test_convolution_is_the_float_one_of_rounded_numbers(mode, options):
    source = nn.Conv2d(4, 6, 3, padding_mode=mode, **options)
    layer, inputs = filled(source), torch.randn(2, 4, 7, 7) * 10
    source.weight.data = layer.real_weight()
    wanted = layer.snap(source(layer.snap(inputs, "input")), "output")
    assert torch.equal(layer(inputs), wanted)


def test_same_padding_and_dilation():
    source = nn.Conv2d(2, 2, 3, padding="same", dilation=2)
    layer, inputs = filled(source), torch.randn(1, 2, 6, 6)
    source.weight.data = layer.real_weight()
    assert torch.equal(layer(inputs), layer.snap(source(layer.snap(inputs, "input")), "output"))


@pytest.mark.parametrize("source", [nn.Linear(7, 3), nn.Conv2d(3, 3, 3, padding=1)])
@torch.no_grad()
def test_four_bits_reach_from_0_to_15_and_weights_share_bytes(source):
    layer = integer_layer(source, bits=4)
    weight = torch.randint(-8, 8, source.weight.shape, generator=torch.Generator().manual_seed(0))
    scale, given, made = torch.tensor([0.5, 0.25, 0.125]), Affine(0.5, 3), Affine(2.0, 8)
    layer.fill(IntegerPlan(weight.to(torch.int8), scale, given, made, bits=4))
    packed = layer.state_dict()["weight"]
    assert (packed.dtype, packed.shape) == (torch.uint8, ((weight.numel() + 1) // 2,))
    inputs = torch.randn(64, *([7] if isinstance(source, nn.Linear) else [3, 5, 5])) * 10
    integers = (inputs / 0.5).round().add(3).clamp(0, 15)
    source.weight.copy_(weight * scale.reshape(-1, *[1] * (weight.dim() - 1)))
    wanted = (source((integers - 3) * 0.5) / 2).round().add(8).clamp(0, 15)
    assert torch.equal(layer(inputs), (wanted - 8) * 2)
    assert wanted.min() == 0
    assert wanted.max() == 15


@pytest.mark.parametrize("source", [nn.Linear(4, 3, bias=False), nn.Conv2d(2, 3, 2)])
def test_names_with_a_slash_survive(source):
    source.register_buffer("weight/mask", torch.ones(source.weight.shape, dtype=torch.bool))
    layer = filled(source)
    keys = {"weight/scale", "weight/input_scale", "weight/input_zero_point", "weight/output_scale"}
    assert keys | {"weight", "weight/mask", "weight/output_zero_point"} == set(layer.state_dict()) - {"bias"}
    fresh = integer_layer(source)
    fresh.load_state_dict(layer.state_dict(), strict=True)
    inputs = torch.randn(2, 4) if isinstance(source, nn.Linear) else torch.randn(1, 2, 4, 4)
    for other in (fresh, copy.deepcopy(layer), torch.export.export(layer, (inputs,)).module()):
        assert torch.equal(other(inputs), layer(inputs))
