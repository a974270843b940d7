"""Streamed statistics against the same figures of all activations held at once."""

import pytest
import torch
import torch.nn.functional as F
from prunery_plugins.calibrate.activations.histogram import StreamingHistogram
from torch import nn

from prunery import PruneryError
from prunery.registry import registry
from prunery.wiring import rectified_layers


def measure(network, batches, **settings):
    return registry().configured("calibrate", "activations", settings).measure(network.eval(), batches)


def batches_of(*shape, count=3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [(torch.randn(4 + index, *shape, generator=generator), torch.zeros(4 + index)) for index in range(count)]


CONVOLUTIONS = {
    "plain": nn.Conv2d(4, 6, 3),
    "strided": nn.Conv2d(4, 6, 3, stride=2, padding=1),
    "dilated": nn.Conv2d(4, 6, (3, 2), dilation=2, padding="same"),
    "reflected": nn.Conv2d(4, 6, 3, padding=(2, 1), padding_mode="reflect"),
    "pointwise": nn.Conv2d(8, 6, 1),
}


def naive_patches(layer, inputs):
    """[positions, in * kh * kw] by a loop over positions."""
    mode = "constant" if layer.padding_mode == "zeros" else layer.padding_mode
    padded = F.pad(inputs, layer._reversed_padding_repeated_twice, mode=mode)
    height, width = layer(inputs).shape[2:]
    rows = []
    for y in range(height):
        for x in range(width):
            top, left = y * layer.stride[0], x * layer.stride[1]
            bottom = top + layer.dilation[0] * (layer.kernel_size[0] - 1) + 1
            right = left + layer.dilation[1] * (layer.kernel_size[1] - 1) + 1
            rows.append(padded[:, :, top : bottom : layer.dilation[0], left : right : layer.dilation[1]].flatten(1))
    return torch.cat(rows)


@pytest.mark.parametrize("name", CONVOLUTIONS)
@pytest.mark.parametrize("limit", [1, 2**24])
def test_moments_of_a_convolution(name, limit, monkeypatch):
    monkeypatch.setattr("prunery.patches.PATCH_ELEMENTS", limit)
    layer = CONVOLUTIONS[name].requires_grad_(False)
    batches = batches_of(layer.in_channels, 7, 6)
    row = measure(layer, batches)["weight"]
    inputs = [each for each, _ in batches]
    patches = torch.cat([naive_patches(layer, each) for each in inputs])
    assert torch.allclose(row["input_second_moment"], patches.square().mean(0), rtol=1e-4)
    groups = patches.reshape(len(patches), -1, 4)
    assert torch.allclose(row["group_second_moment"], (groups[..., None] * groups[..., None, :]).mean(0), atol=1e-5)
    assert torch.allclose(row["input_mean_abs"], torch.cat(inputs).abs().mean((0, 2, 3)), rtol=1e-5)


def test_moments_of_a_linear_layer_over_tokens():
    batches = batches_of(5, 12)
    row = measure(nn.Linear(12, 3), batches, group=3)["weight"]
    tokens = torch.cat([inputs.reshape(-1, 12) for inputs, _ in batches])
    assert torch.allclose(row["input_second_moment"], tokens.square().mean(0), rtol=1e-5)
    assert torch.allclose(row["input_mean_abs"], tokens.abs().mean(0), rtol=1e-5)
    groups = tokens.reshape(-1, 4, 3)
    assert torch.allclose(
        row["group_second_moment"], torch.einsum("tgi,tgj->gij", groups, groups) / len(tokens), atol=1e-6
    )


def test_inputs_that_do_not_divide_have_no_group_moments():
    row = measure(nn.Linear(10, 3), batches_of(10))["weight"]
    assert row["input_second_moment"].shape == (10,)
    assert "group_second_moment" not in row


def test_depthwise_moments_cover_all_channels():
    layer = nn.Conv2d(4, 4, 2, groups=4)
    row = measure(layer, batches_of(4, 5, 5))["weight"]
    assert row["input_second_moment"].shape == (16,)
    assert row["group_second_moment"].shape == (4, 4, 4)


def test_ranges_histograms_and_quantiles_of_both_sides():
    layer = nn.Linear(6, 4)
    batches = batches_of(50, 6)
    row = measure(layer, batches, quantiles=(0.01, 0.5, 0.99))["weight"]
    inputs = torch.cat([each for each, _ in batches])
    with torch.no_grad():
        sides = {"input": inputs, "output": layer(inputs)}
    for side, values in sides.items():
        assert (row[f"{side}_min"], row[f"{side}_max"]) == (values.min(), values.max())
        assert row[f"{side}_histogram"].sum() == values.numel()
        low, high = row[f"{side}_edges"].tolist()
        assert low <= values.min()
        assert values.max() <= high
        exact = torch.quantile(values.flatten(), torch.tensor([0.01, 0.5, 0.99]))
        bound = 4 * float(values.max() - values.min()) / 2048
        assert (row[f"{side}_quantiles"] - exact).abs().max() < bound + 0.02  # 0.02: gaps between 1,800 samples


def test_streaming_counts_equal_counts_over_the_final_range():
    generator = torch.Generator().manual_seed(0)
    parts = [torch.randn(500, generator=generator) * scale + shift for scale, shift in ((1, 0), (5, 3), (0.1, -40))]
    histogram = StreamingHistogram(256)
    for part in parts:
        histogram.add(part)
    everything = torch.cat(parts).double()
    low, high = histogram.edges.tolist()
    index = ((everything - low) / (high - low) * 256).long().clamp(0, 255)
    expected = torch.bincount(index, minlength=256)
    assert (histogram.counts.cumsum(0) - expected.cumsum(0)).abs().max() <= 2  # values on a bin's border may round
    assert high - low <= 4 * float(everything.max() - everything.min())


@pytest.mark.parametrize("values", [torch.zeros(5), torch.full((5,), 1e4), torch.tensor([-3.0])])
def test_constant_values_have_a_histogram(values):
    histogram = StreamingHistogram(64)
    histogram.add(values)
    histogram.add(values)
    assert histogram.counts.sum() == 2 * len(values)
    assert histogram.counts[0] == 2 * len(values)
    assert histogram.high > histogram.low


class Wirings(nn.Module):
    """Layers whose outputs are used in every way that matters to the detection of ReLU."""

    NAMES = ("module", "function", "method", "inplace", "gelu", "residual", "normalised", "last")

    def __init__(self):
        super().__init__()
        for name in self.NAMES:
            setattr(self, name, nn.Linear(4, 4))
        self.relu, self.relu_inplace, self.norm = nn.ReLU(), nn.ReLU(inplace=True), nn.LayerNorm(4)

    def forward(self, x):
        x = self.relu(self.module(x))
        x = F.relu(self.function(x))
        hidden = self.method(x)
        x = hidden.relu() * hidden.shape[0]
        x = self.relu_inplace(self.inplace(x)) + 1
        x = F.gelu(self.gelu(x))
        kept = self.residual(x)
        x = kept + F.relu(kept)
        return self.last(F.relu(self.norm(self.normalised(x))))


def test_relu_is_found_where_it_is_the_only_use():
    torch.manual_seed(0)
    network = Wirings().eval()
    found = rectified_layers(network, torch.randn(1, 4))
    assert found == {"module.weight", "function.weight", "method.weight", "inplace.weight"}
    rows = measure(network, batches_of(4))
    for name in Wirings.NAMES:
        row = rows[f"{name}.weight"]
        assert bool(row["output_relu"]) == (f"{name}.weight" in found)
        assert bool(row["output_min"] >= 0) == bool(row["output_relu"]), name


def test_a_layer_that_does_not_run_has_no_entry():
    network = nn.Sequential(nn.Linear(4, 4))
    network.register_module("spare", None)
    unused = nn.ModuleDict({"used": nn.Linear(4, 4), "unused": nn.Linear(4, 4)})
    unused.forward = lambda inputs: unused["used"](inputs)
    assert set(measure(unused, batches_of(4))) == {"used.weight"}


def test_values_that_are_not_finite_name_their_layer():
    network = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 2))
    network[0].weight.data.fill_(float("nan"))
    with pytest.raises(PruneryError, match=r"the output of 0\.weight's layer is not finite"):
        measure(network, batches_of(4))
    assert not any(layer._forward_hooks for layer in network)
    with pytest.raises(PruneryError, match="no data"):
        measure(network, [])


@pytest.mark.parametrize("rectified", [True, False])
def test_outliers_before_the_activation(rectified):
    torch.manual_seed(0)
    layer = nn.Linear(6, 4)
    network = nn.Sequential(layer, nn.ReLU()) if rectified else layer
    batches = [(inputs**3, labels) for inputs, labels in batches_of(400, 6)]  # long tails
    row = measure(network, batches, bins=65536)["0.weight" if rectified else "weight"]
    with torch.no_grad():
        values = layer(torch.cat([each for each, _ in batches])).flatten().double()
    assert bool(row["output_relu"]) == rectified
    assert float(row["preactivation_mean"]) == pytest.approx(float(values.mean()), abs=1e-6)
    assert float(row["preactivation_variance"]) == pytest.approx(float(values.var(correction=0)), rel=1e-5)
    assert float(row["preactivation_abs_max"]) == pytest.approx(float(values.abs().max()))
    first, third = values.quantile(0.25), values.quantile(0.75)
    beyond = (values < first - 1.5 * (third - first)) | (values > third + 1.5 * (third - first))
    assert 0.01 < float(beyond.double().mean()) < 0.2
    assert float(row["preactivation_outliers_iqr"]) == pytest.approx(float(beyond.double().mean()), abs=1e-3)
    far = (values - values.mean()).abs() > 3 * values.std(correction=0)
    assert float(row["preactivation_outliers_sigma"]) == pytest.approx(float(far.double().mean()), abs=1e-3)


def test_values_all_alike_have_no_outliers():
    layer = nn.Linear(2, 1)
    layer.weight.data.zero_()
    row = measure(layer, batches_of(2))["weight"]
    assert float(row["preactivation_outliers_iqr"]) == float(row["preactivation_outliers_sigma"]) == 0
