"""Layers as rows against the layers themselves, the pattern against loops, and, where there is a GPU, its kernels."""

import copy
import itertools

import pytest
import torch
from prunery_plugins.backend.semi_structured.core import compress, seconds, share_of, without_kernels
from prunery_plugins.backend.semi_structured.rows import RowConv2d, RowLinear, by_rows, layout_of, two_of_four
from torch import nn

from prunery.prune import generator_of
from prunery.registry import registry

REASON = without_kernels()
needs_kernels = pytest.mark.skipif(REASON is not None, reason=str(REASON))


def pruned(layer, layout="channels"):
    """A layer with two of four, by magnitude."""
    method = registry().configured("prune", "nm", {"layout": layout})
    mask = method.masks({"weight": layer.weight.detach()}, {}, generator_of(0))["weight"]
    layer.weight.data.masked_fill_(~mask, 0)
    return layer


def naive(matrix):
    return all(
        sum(float(row[start + place]) != 0 for place in range(4)) <= 2
        for row in matrix
        for start in range(0, len(row), 4)
    )


def test_the_pattern_is_that_of_loops():
    generator = torch.Generator().manual_seed(0)
    matrices = [
        (torch.rand(3, 8, generator=generator) < share).float() for share in (0.2, 0.35, 0.5) for _ in range(20)
    ]
    found = [bool(two_of_four(matrix)) for matrix in matrices]
    assert found == [naive(matrix) for matrix in matrices]
    assert {*found} == {True, False}


@pytest.mark.parametrize("layout", ["channels", "im2col"])
@pytest.mark.parametrize(
    "options",
    [{"kernel_size": 3, "padding": 1}, {"kernel_size": (3, 2), "stride": (2, 1), "padding": (0, 1), "dilation": 2},
     {"kernel_size": 1, "stride": 2}, {"kernel_size": 1, "padding": 1, "bias": False}],
)  # fmt: skip
@torch.no_grad()
def test_unfolded_convolutions_are_the_convolutions(layout, options):
    torch.manual_seed(0)
    layer, inputs = nn.Conv2d(8, 12, **options), torch.randn(2, 8, 11, 9)
    torch.testing.assert_close(by_rows(layer, layout)(inputs), layer(inputs), rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_linear_layers_take_any_leading_axes():
    torch.manual_seed(0)
    layer, inputs = nn.Linear(8, 5), torch.randn(2, 3, 7, 8).transpose(1, 2)
    torch.testing.assert_close(by_rows(layer, "channels")(inputs), layer(inputs))


def test_a_layer_has_the_layout_it_was_pruned_in():
    torch.manual_seed(0)
    assert layout_of(pruned(nn.Linear(8, 4))) == "channels"
    assert layout_of(pruned(nn.Conv2d(8, 4, 3))) == "channels"
    assert layout_of(pruned(nn.Conv2d(8, 4, 3), "im2col")) == "im2col"
    fewer = pruned(nn.Linear(8, 4))
    fewer.weight.data[0] = 0
    assert layout_of(fewer) == "channels"


class Doubled(nn.Linear):
    """Computes something else than its class."""

    def forward(self, input):
        return 2 * super().forward(input)


@pytest.mark.parametrize(
    ("layer", "why"),
    [(nn.Linear(8, 4), "more than two"), (nn.Linear(6, 4), "fewer than four"), (Doubled(8, 4), "otherwise"),
     (nn.Conv2d(8, 8, 3, groups=2), "groups"), (nn.Conv2d(8, 8, 3, padding="same"), "padding"),
     (nn.Conv2d(8, 8, 3, padding=1, padding_mode="circular"), "padding")],
)  # fmt: skip
def test_what_has_no_pattern(layer, why):
    with pytest.raises(ValueError, match=why):
        layout_of(layer)


@torch.no_grad()
def test_layers_that_fit_are_replaced_and_the_others_named():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(4, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.Flatten(), nn.Linear(128, 4))
    pruned(network[2])
    pruned(network[4])
    inputs = torch.randn(2, 4, 8, 8)
    wanted, other = network(inputs), copy.deepcopy(network)
    refused = compress(network, ["0.weight", "2.weight", "4.weight"], lambda matrix: matrix)
    assert list(refused) == ["0.weight"]
    assert [type(network[place]) for place in (0, 2, 4)] == [nn.Conv2d, RowConv2d, RowLinear]
    torch.testing.assert_close(network(inputs), wanted, rtol=1e-4, atol=1e-5)

    def narrow(matrix):
        if matrix.shape[1] < 100:
            raise RuntimeError("too narrow for the kernels\nand more")
        return matrix

    assert compress(other, ["2.weight", "4.weight"], narrow) == {"2.weight": "too narrow for the kernels"}


def test_shares_count_products_with_weights():
    events = {"aten::_cslt_sparse_mm": 3, "aten::mm": 7, "aten::bmm": 2}
    assert share_of(events, 1) == 0.75
    assert share_of({"aten::_sparse_semi_structured_addmm": 2}, 0) == 1
    assert share_of({"aten::mm": 7}, 4) == share_of({}, 0) == 0


def test_times_are_medians_without_warm_up():
    calls = itertools.count()
    assert seconds(lambda: next(calls)) > 0
    assert next(calls) == 7


def test_it_says_in_one_line_why_it_cannot_run():
    reason = registry().configured("backend", "semi_structured", {}).available()
    assert reason is None or ("\n" not in reason and ("GPU" in reason or "kernels" in reason))
    if not torch.cuda.is_available():
        assert reason == "there is no CUDA GPU: sparse tensor cores need one of NVIDIA, compute capability 8.0 or later"


@needs_kernels
@torch.no_grad()
def test_sparse_kernels_compute_the_network(tmp_path):
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(64, 64, 3, padding=1), nn.ReLU(), nn.Conv2d(64, 128, 1, stride=2), nn.Flatten())
    network.extend([nn.Linear(128 * 16, 256), nn.GELU(), nn.Linear(256, 10)]).eval()
    for place in (0, 2, 4):
        pruned(network[place])
    inputs = torch.randn(4, 64, 8, 8)
    backend = registry().configured("backend", "semi_structured", {})
    run = backend.prepare(network, inputs, tmp_path, 1)
    wanted = network(inputs)
    found = run(backend.place(inputs)).cpu()
    assert float((found - wanted).abs().max() / wanted.abs().max()) < 0.03
    assert set(run.dense) == {"6.weight"}
    assert backend.sparse_share(run, backend.place(inputs)) == 0.75


@needs_kernels
def test_a_dense_network_runs_dense(tmp_path):
    network, inputs = nn.Linear(64, 64).eval(), torch.randn(4, 64)
    backend = registry().configured("backend", "semi_structured", {})
    run = backend.prepare(network, inputs, tmp_path, 1)
    assert backend.sparse_share(run, backend.place(inputs)) == 0
