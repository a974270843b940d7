"""Integers, scales and grids against loops and closed forms."""

import pytest
import torch
from prunery_plugins.quantize.ptq.core import grid, magnitude, symmetric_channels, symmetric_grid, value_range

from prunery.errors import PruneryError
from prunery.integer import Affine
from prunery.registry import registry


def ptq(**settings):
    return registry().configured("quantize", "ptq", settings)


def row(low=-1.0, high=3.0, counts=None):
    """Statistics of a layer, its histogram over eight bins from -1 to 3."""
    histogram = torch.ones(8, dtype=torch.int64) if counts is None else torch.tensor(counts)
    sides = {}
    for side in ("input", "output"):
        sides |= {f"{side}_min": torch.tensor(low), f"{side}_max": torch.tensor(high)}
        sides |= {f"{side}_histogram": histogram, f"{side}_edges": torch.tensor([-1.0, 3.0], dtype=torch.float64)}
    return sides


@pytest.mark.parametrize(("bits", "most"), [(8, 127), (4, 7)])
@pytest.mark.parametrize("shape", [(5, 7), (4, 3, 2, 2)])
def test_weights_are_rounded_channel_by_channel(shape, bits, most):
    weight = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    integers, scale = symmetric_channels(weight, bits)
    assert integers.dtype == torch.int8
    for channel in range(shape[0]):
        values = weight[channel].flatten().tolist()
        step = max(abs(value) for value in values) / most
        assert float(scale[channel]) == pytest.approx(step, rel=1e-6)
        wanted = [round(value / step) for value in values]
        assert integers[channel].flatten().tolist() == wanted
        assert max(map(abs, wanted)) == most
    real = integers * scale.reshape(-1, *[1] * (len(shape) - 1))
    assert float(((real - weight).abs().flatten(1).amax(1) / scale).max()) <= 0.5 + 1e-4


def test_zeros_stay_zero_and_dead_channels_have_a_usable_scale():
    weight = torch.tensor([[0.0, 0.0], [127.0, 0.0], [1e-6, 0.0], [0.05, 0.1]])
    integers, scale = symmetric_channels(weight)
    assert integers.tolist() == [[0, 0], [127, 0], [0, 0], [51, 102]]
    assert scale.tolist() == [2**-10, 1.0, 2**-10, 2**-10]
    integers, scale = symmetric_channels(torch.zeros(2, 3))
    assert not integers.any()
    assert scale.tolist() == [1.0, 1.0]


@pytest.mark.parametrize(
    ("low", "high", "wanted"),
    [
        (0.0, 255.0, Affine(1.0, 0)),
        (-255.0, 0.0, Affine(1.0, 255)),
        (-128.0, 127.0, Affine(1.0, 128)),
        (10.0, 510.0, Affine(2.0, 0)),  # widened down to zero
        (-510.0, -10.0, Affine(2.0, 255)),
        (0.0, 0.0, Affine(1.0, 0)),
    ],
)
def test_grids_by_hand(low, high, wanted):
    assert grid(low, high) == wanted


@pytest.mark.parametrize("bits", [8, 4])
def test_grids_hold_their_range_and_zero_exactly(bits):
    generator, levels = torch.Generator().manual_seed(0), 2**bits
    for low, high in (torch.randn(200, 2, generator=generator) * 5).sort(dim=1).values.tolist():
        found = grid(low, high, bits)
        integers = torch.arange(levels)
        reals = (integers - found.zero_point) * found.scale
        assert float(reals[found.zero_point]) == 0
        for end, bound in ((reals[0], min(low, 0)), (reals[-1], max(high, 0))):
            assert abs(float(end)) >= abs(bound) * (1 - 1e-6)
        assert found.scale <= (max(high, 0) - min(low, 0)) / (levels - 2) * (1 + 1e-6)
        assert torch.tensor(found.scale, dtype=torch.float32).item() == found.scale


def test_normalised_pixels_do_not_fall_between_integers():
    found = grid(-1.0, 1.0)
    assert found == Affine(torch.tensor(1 / 127).item(), 127)
    steps = (torch.arange(256) / 255 - 0.5) / 0.5 / found.scale
    assert int(((steps - steps.floor() - 0.5).abs() < 1e-3).sum()) <= 2
    assert len(steps.round().unique()) >= 254


def test_ranges_are_extremes_or_quantiles():
    assert value_range(row(), "input", 1.0) == (-1.0, 3.0)
    assert value_range(row(), "output", 0.75) == pytest.approx((0.0, 2.0))
    assert value_range(row(low=-0.9, high=2.5), "input", 0.999) == pytest.approx((-0.9, 2.5))  # within the extremes
    found = value_range(row(counts=[0, 0, 998, 0, 0, 0, 0, 2]), "input", 0.99)
    assert found == pytest.approx((0.005, 0.496), abs=1e-2)  # the outlier in the last bin is clipped


def test_symmetric_grids_reach_as_far_below_zero_as_above():
    assert symmetric_grid(127.0) == Affine(1.0, 128)
    assert symmetric_grid(14.0, bits=4) == Affine(2.0, 8)
    assert symmetric_grid(0.0, bits=4) == Affine(1.0, 8)


def test_the_percentile_of_magnitudes_counts_both_tails():
    assert magnitude(row(low=-1.0, high=3.0), "input", 1.0) == 3
    assert magnitude(row(), "input", 0.5) == pytest.approx(0.75)  # of eight even bins, four lie within 1 of zero
    outliers = row(low=-0.9, high=2.5, counts=[2, 0, 995, 0, 0, 0, 0, 3])
    assert magnitude(outliers, "output", 0.997) == pytest.approx(0.75)  # the bin from -1 to -0.5
    assert magnitude(outliers, "output", 0.999) == 2.5  # the last bin's middle lies beyond the largest value


def test_weights_are_clipped_at_their_layers_percentile():
    weight = torch.ones(10, 10)
    weight[0, 0] = 50.0
    clip = {"range": "percentile", "percentile": 99, "bits": 4}
    measured = {"activations": {"a": row()}}
    plain, clipped = (ptq(**clip, clip_weights=on).plan({"a": weight}, measured)["a"] for on in (False, True))
    assert plain.scale[0] == pytest.approx(50 / 7)
    assert clipped.scale.tolist() == pytest.approx([1 / 7] * 10)
    assert clipped.weight[0].tolist() == [7] * 10
    assert clipped.bits == 4


def test_plans_follow_the_settings():
    weights = {name: torch.randn(3, 4) for name in ("a", "b", "c", "d")}
    measured = {"activations": {name: row() for name in weights}}
    assert list(ptq().plan(weights, measured)) == ["a", "b", "c", "d"]
    assert list(ptq(first_last="float").plan(weights, measured)) == ["b", "c"]
    assert list(ptq(exclude=("a", "[cd]")).plan(weights, measured)) == ["b"]
    assert ptq().plan(weights, measured)["a"].output == grid(-1.0, 3.0)
    clipped = ptq(range="percentile", percentile=75).plan(weights, measured)["a"]
    assert clipped.input == grid(*value_range(row(), "input", 0.75))
    assert ptq(bits=4).plan(weights, measured)["a"].output == grid(-1.0, 3.0, 4)
    symmetric = ptq(bits=4, activations="symmetric").plan(weights, measured)["a"]
    assert symmetric.input == symmetric_grid(3.0, 4)
    assert ptq(calibration="long").needs() == ("calibrate=long",)


def test_layers_that_never_ran_are_left_out(caplog):
    weights = {"seen": torch.ones(2, 2), "unseen": torch.ones(2, 2)}
    with caplog.at_level("WARNING", "prunery"):
        assert list(ptq().plan(weights, {"activations": {"seen": row()}})) == ["seen"]
    assert "no sample ran through: unseen" in caplog.text


def test_what_cannot_be_is_refused():
    assert registry().configured("quantize", "ptq", {}, amount=4).settings.bits == 4
    with pytest.raises(PruneryError, match=r"ptq.*bits"):
        registry().configured("quantize", "ptq", {}, amount=3)
    with pytest.raises(PruneryError, match=r"quantize method 'ptq', setting 'percentile'.*greater than 50"):
        ptq(range="percentile", percentile=0)
    with pytest.raises(PruneryError, match=r"clip_weights goes with range: percentile"):
        ptq(clip_weights=True)
