"""Which batch norms can be folded, and that folding changes nothing but the structure."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from prunery.edits import fold_edit, replay
from prunery.folding import batch_norm_pairs, fold, folded


def trained(network):
    """Statistics and affine parameters as training might leave them."""
    generator = torch.Generator().manual_seed(1)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            for name in ("running_mean", "bias", "running_var", "weight"):
                value = getattr(module, name)
                if value is not None:
                    low = 0.5 if name in ("running_var", "weight") else -0.5
                    value.data.copy_(low + torch.rand(value.shape, generator=generator))
    return network.eval()


class NormWithActivation(nn.BatchNorm2d):
    """As timm's: an activation inside of the norm."""

    def __init__(self, channels):
        super().__init__(channels)
        self.drop, self.act = nn.Identity(), nn.SiLU()

    def forward(self, inputs):
        normed = F.batch_norm(inputs, self.running_mean, self.running_var, self.weight, self.bias, False, 0.1, self.eps)
        return self.act(self.drop(normed))


class Tangled(nn.Module):
    """One pair that folds, and every reason not to."""

    def __init__(self):
        super().__init__()
        for name in ("plain", "shared_norm_a", "shared_norm_b", "used_twice", "sliced", "transposed", "last"):
            self.add_module(name, nn.Conv2d(3, 3, 1, bias=name == "plain"))
        self.ok, self.both, self.second, self.third = (nn.BatchNorm2d(3) for _ in range(4))
        self.free, self.fresh = nn.BatchNorm2d(3), nn.BatchNorm2d(3, track_running_stats=False)

    def forward(self, x):
        x = self.ok(self.plain(x)).relu()
        x = self.both(self.shared_norm_a(x)) + self.both(self.shared_norm_b(x))
        y = self.used_twice(x)
        x = self.second(y) + y
        x = self.third(self.sliced(x)[:, :, 1:])
        x = self.free(self.transposed(x).relu())
        return self.fresh(self.last(x))


class Rows(nn.Module):
    """Norms behind linear layers: over features, and over the second of three axes."""

    def __init__(self):
        super().__init__()
        self.first, self.over_tokens = nn.Linear(4, 6), nn.BatchNorm1d(5)
        self.second, self.over_features = nn.Linear(30, 7), nn.BatchNorm1d(7, affine=False)

    def forward(self, x):
        return self.over_features(self.second(self.over_tokens(self.first(x)).flatten(1)))


def test_only_what_is_all_of_a_layers_use_is_folded():
    network, example = trained(Tangled()), torch.randn(2, 3, 4, 4)
    assert batch_norm_pairs(network, example) == [("plain", "ok")]
    wanted = network(example)
    result = folded(network, example)
    assert torch.allclose(result(example), wanted, atol=1e-5)
    assert isinstance(result.ok, nn.Identity)
    assert isinstance(network.ok, nn.BatchNorm2d), "the network itself was changed"
    assert not network.training
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in network.modules())


@pytest.mark.parametrize(
    ("network", "example", "pairs"),
    [
        (nn.Sequential(nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4), nn.ReLU()), (2, 3, 5, 5), [("0", "1")]),
        (nn.Sequential(nn.Conv2d(3, 4, 3, groups=1), NormWithActivation(4)), (2, 3, 5, 5), [("0", "1")]),
        (Rows(), (2, 5, 4), [("second", "over_features")]),
        (nn.Sequential(nn.BatchNorm2d(3), nn.Conv2d(3, 4, 3)), (2, 3, 5, 5), []),
        (nn.Sequential(nn.Linear(3, 4)), (2, 3), []),
    ],
)
def test_folding_gives_the_same_outputs(network, example, pairs):
    network, inputs = trained(network), torch.randn(example)
    assert batch_norm_pairs(network.train(), inputs) == pairs
    assert network.training
    wanted = network.eval()(inputs)
    again = replay(network, [fold_edit(pairs)] if pairs else [])
    assert torch.allclose(again(inputs), wanted, atol=1e-5)
    if pairs:
        assert pairs[0][1] + ".weight" not in again.state_dict()


def test_factor_and_shift_by_hand():
    network = trained(nn.Sequential(nn.Conv2d(1, 1, 1, bias=False), nn.BatchNorm2d(1, eps=0.0)))
    norm = network[1]
    for name, value in {"running_mean": 3.0, "running_var": 4.0, "weight": 6.0, "bias": 1.0}.items():
        getattr(norm, name).data.fill_(value)
    network[0].weight.data.fill_(2.0)
    fold(network, ("0", "1"))
    assert network[0].weight.flatten().tolist() == [2.0 * 6.0 / 2.0]
    assert network[0].bias.tolist() == [1.0 - 3.0 * 6.0 / 2.0]
