"""The constants of the certificate: exact ones against fine grids and by hand, sampled ones from below."""

import pytest
import torch
from prunery_plugins.evaluate.certificate.exact import exact_reach
from prunery_plugins.evaluate.certificate.segment import segments
from torch import nn

FINE = 20_000


class Residual(nn.Module):
    """Convolutions, a norm, pooling, and a path beside them."""

    def __init__(self):
        super().__init__()
        self.first, self.norm = nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4)
        self.second, self.leaky = nn.Conv2d(4, 4, 3, padding=1, groups=2), nn.LeakyReLU(0.1, inplace=True)
        self.pool, self.head = nn.MaxPool2d(2), nn.Linear(4 * 9, 3)

    def forward(self, x):
        x = self.norm(self.first(x)).relu()
        x = self.pool(self.leaky(self.second(x)) + 0.5 * x)
        return self.head(x.flatten(1))


def perceptron():
    return nn.Sequential(
        nn.Flatten(), nn.Linear(36, 20), nn.ReLU(inplace=True), nn.Linear(20, 12), nn.ReLU(), nn.Linear(12, 3)
    )


def lines(network, key, removed=None, samples=5, batch=64):
    network.double().eval()
    layer = network.get_submodule(key)
    generator = torch.Generator().manual_seed(1)
    inputs = torch.randn(samples, 1, 6, 6, generator=generator, dtype=torch.float64)
    shape = layer.weight.shape
    removed = torch.randn(shape, generator=generator, dtype=torch.float64) if removed is None else removed
    return next(iter(segments(network, layer, inputs, removed, batch)))


@pytest.mark.parametrize(
    ("make", "key"), [(Residual, "first"), (Residual, "second"), (perceptron, "1"), (perceptron, "3")]
)
@torch.no_grad()
def test_exact_speeds_are_those_of_a_fine_grid(make, key):
    torch.manual_seed(0)
    line = lines(make(), key)
    found, grid, coarse = exact_reach(line, 10_000), line.sampled_reach(FINE), line.sampled_reach(3)
    assert found is not None
    assert (grid <= found * (1 + 1e-9)).all()  # no secant is steeper than the steepest piece
    assert grid.tolist() == pytest.approx(found.tolist(), rel=1e-3)
    assert (coarse < 0.999 * found).any()


@torch.no_grad()
def test_rows_at_a_time_do_not_matter():
    torch.manual_seed(0)
    network = Residual()
    whole, parts = (exact_reach(lines(network, "first", batch=batch), 10_000) for batch in (10_000, 7))
    assert whole.tolist() == pytest.approx(parts.tolist(), rel=1e-9)


@torch.no_grad()
def test_a_kink_by_hand():
    """The output runs from 1 down to -1; behind ReLU logits move by 3 and -1 a unit, on the first half alone."""
    network = nn.Sequential(nn.Linear(1, 1), nn.ReLU(), nn.Linear(1, 2)).double()
    for layer, weight in ((network[0], [[1.0]]), (network[2], [[3.0], [-1.0]])):
        layer.weight.copy_(torch.tensor(weight))
        layer.bias.zero_()
    removed, ones = torch.tensor([[2.0]], dtype=torch.float64), torch.ones(1, 1, dtype=torch.float64)
    line = next(iter(segments(network, network[0], ones, removed, 8)))
    assert line.step.tolist() == [[2.0]]
    assert exact_reach(line, 8).tolist() == pytest.approx([6.0], abs=1e-6)
    assert line.sampled_reach(1).tolist() == pytest.approx([3.0])  # the chord: half of the truth
    assert line.logits(torch.tensor([0.0, 0.75]))[:, 0].tolist() == [[0, 0], [1.5, -0.5]]
    assert line.slope(torch.tensor([0])).tolist() == pytest.approx([-(3 + 1) * 2 / (1 + torch.e**4)], rel=1e-6)


@pytest.mark.parametrize(
    "between", [nn.GELU(), nn.Softmax(1), nn.LayerNorm(12), nn.BatchNorm1d(12, track_running_stats=False)]
)
@torch.no_grad()
def test_what_is_not_piecewise_linear_is_not_called_exact(between):
    torch.manual_seed(0)
    network = perceptron()
    network[4] = between
    assert exact_reach(lines(network, "1"), 10_000) is None if not isinstance(between, nn.BatchNorm1d) else True
    assert exact_reach(lines(network, "5"), 10_000) is not None  # behind it there is nothing else


class Squared(nn.Module):
    """A product of two values that both run along the way."""

    def __init__(self):
        super().__init__()
        self.first, self.head = nn.Linear(36, 4), nn.Linear(4, 3)

    def forward(self, x):
        x = self.first(x.flatten(1))
        return self.head(x * x)


@torch.no_grad()
def test_products_and_too_many_pieces_are_not_exact():
    torch.manual_seed(0)
    assert exact_reach(lines(Squared(), "first"), 10_000) is None
    assert exact_reach(lines(Residual(), "first"), 3) is None


class Tokens(nn.Module):
    """A layer over tokens `[batch, length, dim]`, or, transposed, `[length, batch, dim]`; or used twice."""

    def __init__(self, transposed=False, twice=False):
        super().__init__()
        self.layer, self.head, self.transposed, self.twice = nn.Linear(6, 6), nn.Linear(36, 3), transposed, twice

    def forward(self, x):
        x = x[:, 0]
        x = self.layer(x.transpose(0, 1)).transpose(0, 1) if self.transposed else self.layer(x)
        x = self.layer(x) if self.twice else x
        return self.head(x.relu().flatten(1))


@torch.no_grad()
def test_layers_that_go_otherwise_than_sample_by_sample_are_left_out():
    torch.manual_seed(0)
    assert exact_reach(lines(Tokens(), "layer", samples=6), 10_000) is not None
    assert lines(Tokens(transposed=True), "layer", samples=6) is None  # as many tokens as samples
    assert lines(Tokens(twice=True), "layer") is None


class Rounding(nn.Linear):
    """A layer that is not affine in its weight."""

    def forward(self, x):
        return nn.functional.linear(x, self.weight.round(decimals=1), self.bias)


@torch.no_grad()
def test_layers_that_round_are_left_out():
    network = perceptron()
    network[3] = Rounding(20, 12)
    assert lines(network, "3") is None
