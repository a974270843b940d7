"""Fake quantization against PyTorch's own modules, by hand, and side by side for many replicas."""

from __future__ import annotations

import pytest
import torch
from prunery_plugins.quantize.ptq.core import grid
from torch import nn
from torch.ao.quantization import (
    FakeQuantize,
    MovingAverageMinMaxObserver,
    MovingAveragePerChannelMinMaxObserver,
)

from prunery.fakequant import Rounding, activation_grid, fake_quantize, observe, simulated, weight_scale
from prunery.simulating import FakeQuantizedConv2d, FakeQuantizedLinear, fake_quantized, float_layer

ROUNDED = Rounding(zero_point="rounded")


def empty(*shape: int) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.ones(shape), torch.zeros(shape)


def batches(*shape: int, count: int = 6, shift: float = 0.4) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [(torch.randn(shape, generator=generator) + shift) * (1 + 0.3 * step) for step in range(count)]


# --- against PyTorch -------------------------------------------------------------------------------------------------


def both(values: torch.Tensor, ours, theirs) -> None:
    """Same outputs and gradients."""
    one, other = values.clone().requires_grad_(), values.clone().requires_grad_()
    slopes = torch.linspace(-1, 1, values.numel()).reshape(values.shape)
    wanted, found = theirs(other), ours(one)
    assert torch.allclose(found, wanted, atol=1e-6)
    (wanted * slopes).sum().backward()
    (found * slopes).sum().backward()
    assert torch.equal(one.grad, other.grad)


@pytest.mark.parametrize("shift", [0.4, 5.0, -5.0])
def test_activations_are_rounded_as_by_pytorch(shift):
    theirs = FakeQuantize(MovingAverageMinMaxObserver, 0, 255, dtype=torch.quint8, qscheme=torch.per_tensor_affine)
    low, high = empty()

    def ours(values):
        observe(values.detach(), low, high, 0.01)
        scale, zero_point = activation_grid(low, high, ROUNDED)
        return fake_quantize(values, scale, -zero_point, 255 - zero_point)

    for values in batches(40, 7, shift=shift):
        both(values, ours, theirs)
        scale, zero_point = theirs.calculate_qparams()
        assert torch.allclose(activation_grid(low, high, ROUNDED)[0], scale)
        assert activation_grid(low, high, ROUNDED)[1] == zero_point


@pytest.mark.parametrize("scales", ["tensor", "channel"])
def test_weights_are_rounded_as_by_pytorch(scales):
    whole = scales == "tensor"
    observer = MovingAverageMinMaxObserver if whole else MovingAveragePerChannelMinMaxObserver
    scheme = torch.per_tensor_symmetric if whole else torch.per_channel_symmetric
    theirs = FakeQuantize(observer, -128, 127, dtype=torch.qint8, qscheme=scheme)
    low, high = empty() if whole else empty(9)

    def ours(values):
        observe(values.detach(), low, high, 0.01)
        return fake_quantize(values, weight_scale(low, high, Rounding(weight_scales=scales)), -128, 127)

    for first in batches(9, 3, 2, 2, count=1):  # its largest weights lie on 127.5, where a last bit decides
        ours(first), theirs(first)
    for values in batches(9, 3, 2, 2, shift=0.3):
        both(values, ours, theirs)
        assert torch.allclose(weight_scale(low, high, Rounding(weight_scales=scales)), theirs.calculate_qparams()[0])


def test_a_layer_trains_as_pytorchs_three_fake_quantizers_around_a_linear_map():
    options = {"dtype": torch.quint8, "qscheme": torch.per_tensor_affine}
    around = [FakeQuantize(MovingAverageMinMaxObserver, 0, 255, **options) for _ in range(2)]
    options = {"dtype": torch.qint8, "qscheme": torch.per_tensor_symmetric}
    inside = FakeQuantize(MovingAverageMinMaxObserver, -128, 127, **options)
    torch.manual_seed(0)
    plain = nn.Linear(7, 5)
    layer = fake_quantized(nn.Linear(7, 5), ROUNDED)
    layer.load_state_dict(plain.state_dict(), strict=False)
    optimizers = [torch.optim.SGD(one.parameters(), 0.1) for one in (plain, layer)]
    for values in batches(30, 7):
        wanted = around[1](nn.functional.linear(around[0](values), inside(plain.weight), plain.bias))
        found = layer(values)
        assert torch.allclose(found, wanted, atol=1e-5)
        for output, optimizer in zip((wanted, found), optimizers, strict=True):
            optimizer.zero_grad()
            output.square().mean().backward()
            optimizer.step()
    assert torch.allclose(layer.weight, plain.weight, atol=1e-5)
    assert torch.allclose(layer.bias, plain.bias, atol=1e-5)
    ranges = layer.ranges()
    for side, theirs in zip(("", "input_", "output_"), (inside, *around), strict=True):
        observer = theirs.activation_post_process
        assert torch.allclose(ranges[f"{side}low"], observer.min_val)
        assert torch.allclose(ranges[f"{side}high"], observer.max_val)


# --- by hand ---------------------------------------------------------------------------------------------------------


def test_values_and_gradients_by_hand():
    values = torch.tensor([-2.6, -1.4, -0.5, 0.0, 0.5, 0.7, 1.5, 2.4, 2.6], requires_grad=True)
    found = fake_quantize(values, torch.tensor(1.0), -2, 2)
    assert found.tolist() == [-2, -1, 0, 0, 0, 1, 2, 2, 2]
    (found * torch.arange(1.0, 10)).sum().backward()
    assert values.grad.tolist() == [0, 2, 3, 4, 5, 6, 7, 8, 0]
    with torch.no_grad():
        assert torch.equal(fake_quantize(values, torch.tensor(1.0), -2, 2), found)


def test_a_range_starts_at_the_first_extremes_and_follows_slowly():
    low, high = empty()
    observe(torch.tensor([-1.0, 3.0]), low, high, 0.25)
    assert (low, high) == (-1, 3)
    observe(torch.tensor([-5.0, 7.0]), low, high, 0.25)
    assert (low, high) == (-2, 4)
    low, high = empty()
    observe(torch.tensor([-5.0, -1.0]), low, high, 0.25, rectified=True)
    assert (low, high) == (0, 0)


def test_ranges_of_nothing_have_a_usable_grid():
    zero = torch.tensor(0.0)
    for option in ("rounded", "fitted"):
        assert activation_grid(zero, zero, Rounding(zero_point=option)) == (1, 0)
    assert weight_scale(zero, zero, Rounding()) == 2**-20
    scale = weight_scale(torch.tensor([0.0, -1.0]), torch.tensor([0.0, 0.5]), Rounding(weight_scales="channel"))
    assert scale.tolist() == pytest.approx([1 / 127.5 / 1024, 1 / 127.5])


def test_fitted_grids_are_those_of_post_training_quantization():
    generator = torch.Generator().manual_seed(0)
    ends = (torch.randn(300, 2, generator=generator) * 5).sort(dim=1).values
    ends = torch.cat([ends, torch.tensor([[-1.0, 1.0], [0.0, 4.0], [-4.0, 0.0]])])
    scales, zero_points = activation_grid(*ends.T, Rounding(zero_point="fitted"))
    for (low, high), scale, zero_point in zip(ends.tolist(), scales.tolist(), zero_points.tolist(), strict=True):
        wanted = grid(low, high)
        assert scale == pytest.approx(wanted.scale, rel=1e-6)
        assert zero_point == wanted.zero_point


def test_more_bits_are_finer():
    low, high = torch.tensor(-1.0), torch.tensor(2.0)
    assert weight_scale(low, high, Rounding(bits=4)) == pytest.approx(2 / 7.5)
    assert activation_grid(low, high, Rounding(bits=4)) == (pytest.approx(0.2), 5)


# --- many at a time --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scales", ["tensor", "channel"])
@pytest.mark.parametrize("rectified", [False, True])
def test_replicas_side_by_side_are_rounded_as_each_alone(scales, rectified):
    rounding = Rounding(weight_scales=scales, rectified=rectified)
    generator = torch.Generator().manual_seed(0)
    inputs, weights = torch.randn(4, 10, 6, generator=generator), torch.randn(4, 5, 6, generator=generator)
    inputs = inputs * torch.tensor([0.1, 1.0, 3.0, 9.0]).reshape(4, 1, 1)
    shapes = {"": (5,) if scales == "channel" else (), "input_": (), "output_": ()}

    def ranges(*lead):
        pairs = {side: empty(*lead, *shape) for side, shape in shapes.items()}
        return {
            f"{side}{end}": pair[place] for side, pair in pairs.items() for place, end in enumerate(("low", "high"))
        }

    def product(rows, weight):
        return rows @ weight.mT

    together = ranges(4)
    found = simulated(product, inputs, weights, together, rounding, training=True)
    for row in range(4):
        alone = ranges()
        wanted = simulated(product, inputs[row], weights[row], alone, rounding, training=True)
        assert torch.allclose(found[row], wanted, atol=1e-6)
        for name, value in alone.items():
            assert torch.allclose(together[name][row], value), name


# --- layers ----------------------------------------------------------------------------------------------------------


def test_ranges_move_in_training_only():
    layer = fake_quantized(nn.Linear(3, 2), Rounding())
    assert not layer.observed
    layer.eval()(torch.randn(5, 3))
    assert not layer.observed
    layer.train()(torch.randn(5, 3))
    assert layer.observed
    before = {name: value.clone() for name, value in layer.ranges().items()}
    layer.eval()(100 * torch.randn(5, 3))
    assert all(torch.equal(before[name], value) for name, value in layer.ranges().items())


def test_counterparts_share_parameters_and_masks():
    source = nn.Conv2d(2, 4, 3, stride=2, padding=1, dilation=2, groups=2, bias=False, padding_mode="reflect").eval()
    source.register_buffer("weight/mask", torch.rand(source.weight.shape) > 0.5)
    layer = fake_quantized(source, Rounding())
    again = float_layer(layer)
    assert isinstance(layer, FakeQuantizedConv2d)
    assert type(again) is nn.Conv2d
    assert layer.weight is again.weight is source.weight
    assert not layer.training
    assert again.get_buffer("weight/mask") is source.get_buffer("weight/mask")
    assert repr(again) == repr(source)
    inputs = torch.randn(2, 2, 9, 9)
    assert torch.equal(again(inputs), source(inputs))
    layer.train()(inputs)
    with torch.no_grad():
        wanted, found = source(inputs), layer.eval()(inputs)
    assert 0 < float((found - wanted).abs().max()) < 0.05 * float(wanted.abs().max())


def test_a_layer_with_a_source_rounds_no_input_and_says_so():
    layer = FakeQuantizedLinear(nn.Linear(3, 2), Rounding(source="fc1.weight", rectified=True))
    assert set(layer.ranges()) == {"low", "high", "output_low", "output_high"}
    assert "source='fc1.weight'" in repr(layer)
    assert layer.train()(torch.randn(50, 3)).min() >= 0
