"""Which channels only go together, on small networks whose answer is known; and what is left of them."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from prunery.coupling.atoms import FREE, KEPT, Atoms
from prunery.coupling.products import ACROSS, COMPUTED
from prunery.coupling.structure import SHARED, STAYS, UNSEEN, structure_of
from prunery.coupling.trials import (
    CRASHED,
    FAILED,
    _alike_together,
    _proved,
    comes_out_right,
    proved_structure,
    scrambled,
    zeroed,
)
from prunery.edits import cut_channels

IMAGE = (3, 8, 8)
OUTPUT = "its channels are the network's output"


def inputs(*shape):
    return torch.randn(2, *shape, generator=torch.Generator().manual_seed(0))


def structure(network, *shape):
    return proved_structure(network.eval(), inputs(*(shape or IMAGE)))


def groups(network, *shape):
    """By name, the number of units and the other layers of each group."""
    found = structure(network, *shape).groups
    return {name: (len(group), *(key for key in group.layers if key != name)) for name, group in found.items()}


def removed(network, kept, *shape):
    """The network without what goes, once it was seen to compute what it does with it at zero."""
    found = structure(network, *shape)
    kept = {name: torch.tensor(mask, dtype=torch.bool) for name, mask in kept.items()}
    assert comes_out_right(scrambled(network), found, kept, inputs(*(shape or IMAGE)).double()) is None
    return cut_channels(copy.deepcopy(network), found.edit(network, kept))


class Net(nn.Module):
    """Modules by name, and a function of them and the input."""

    def __init__(self, forward, **modules):
        super().__init__()
        for name, module in modules.items():
            self.add_module(name, module)
        self.call = forward

    def forward(self, x):
        return self.call(self, x)


def head(width):
    return nn.Linear(width, 4)


# --- chains ----------------------------------------------------------------------------------------------------------


def test_a_chain_with_batch_norm_and_a_flattened_end():
    network = nn.Sequential(
        nn.Conv2d(3, 6, 3),
        nn.BatchNorm2d(6),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(6, 5, 2),
        nn.Flatten(),
        nn.Linear(20, 4),
    )
    assert groups(network) == {"0.weight": (6,), "4.weight": (5,)}
    assert structure(network).fixed == {"6.weight": OUTPUT}
    small = removed(network, {"0.weight": [1, 1, 0, 1, 0, 1], "4.weight": [0, 1, 1, 0, 1]})
    assert small[0].weight.shape == (4, 3, 3, 3)
    assert torch.equal(small[1].running_mean, network[1].running_mean[[0, 1, 3, 5]])
    assert torch.equal(small[4].weight, network[4].weight[[1, 2, 4]][:, [0, 1, 3, 5]])
    assert small[6].weight.shape == (4, 12)
    assert torch.equal(small[6].weight[:, :4], network[6].weight[:, 4:8])  # channel 0 is gone with its four pixels
    assert (small[0].out_channels, small[1].num_features, small[4].in_channels, small[6].in_features) == (4, 4, 4, 12)


def test_sizes_are_those_of_the_network_that_comes_out():
    network = nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(), nn.Conv2d(6, 5, 3), nn.Flatten(), nn.Linear(80, 4))
    found = structure(network)
    kept = {"0.weight": torch.tensor([True] * 4 + [False] * 2)}
    small = cut_channels(copy.deepcopy(network), found.edit(network, kept))
    assert found.sizes({}) == (sum(p.numel() for p in network.parameters()), 3 * 9 * 6 * 36 + 6 * 9 * 5 * 16 + 80 * 4)
    assert found.sizes(kept) == (sum(p.numel() for p in small.parameters()), 3 * 9 * 4 * 36 + 4 * 9 * 5 * 16 + 80 * 4)


# --- paths that meet -------------------------------------------------------------------------------------------------


def test_a_residual_path_ties_its_layers():
    network = Net(
        lambda m, x: m.head((m.a(x) + m.c(F.relu(m.b(m.a(x))))).mean((2, 3))),
        a=nn.Conv2d(3, 6, 1), b=nn.Conv2d(6, 5, 3, padding=1), c=nn.Conv2d(5, 6, 1), head=head(6),
    )  # fmt: skip
    assert groups(network) == {"a.weight": (6, "c.weight"), "b.weight": (5,)}
    small = removed(network, {"a.weight": [1, 0, 1, 1, 1, 0]})
    assert small.c.weight.shape == (4, 5, 1, 1)
    assert small.b.weight.shape == (5, 4, 3, 3)


def test_a_sum_with_the_input_keeps_all_channels():
    network = Net(lambda m, x: m.head((x + m.a(x)).mean((2, 3))), a=nn.Conv2d(3, 3, 1), head=head(3))
    assert groups(network) == {}
    assert "values that stay" in structure(network).fixed["a.weight"]


def test_concatenation_keeps_layers_apart():
    network = Net(
        lambda m, x: m.head(m.c(torch.cat([m.a(x), m.b(x)], 1)).mean((2, 3))),
        a=nn.Conv2d(3, 4, 1), b=nn.Conv2d(3, 5, 1), c=nn.Conv2d(9, 6, 1), head=head(6),
    )  # fmt: skip
    assert groups(network) == {"a.weight": (4,), "b.weight": (5,), "c.weight": (6,)}
    small = removed(network, {"a.weight": [1, 0, 1, 0], "b.weight": [0, 1, 1, 1, 1]})
    assert torch.equal(small.c.weight, network.c.weight[:, [0, 2, 5, 6, 7, 8]])


def test_depthwise_channels_go_with_their_inputs():
    network = Net(
        lambda m, x: m.head(m.d(m.a(x)).mean((2, 3))),
        a=nn.Conv2d(3, 6, 1), d=nn.Conv2d(6, 6, 3, groups=6), head=head(6),
    )  # fmt: skip
    assert groups(network) == {"a.weight": (6, "d.weight")}
    small = removed(network, {"a.weight": [1, 1, 0, 0, 1, 1]})
    assert (small.d.groups, small.d.in_channels, small.d.out_channels) == (4, 4, 4)


def test_grouped_convolutions_lose_whole_groups():
    network = Net(
        lambda m, x: m.head(m.g(m.a(x)).mean((2, 3))),
        a=nn.Conv2d(3, 6, 1), g=nn.Conv2d(6, 9, 3, groups=3), head=head(9),
    )  # fmt: skip
    assert groups(network) == {"a.weight": (3, "g.weight")}
    small = removed(network, {"a.weight": [1, 0, 1]})
    assert (small.g.groups, small.g.in_channels, small.g.weight.shape[0], small.a.out_channels) == (2, 4, 6, 4)


@pytest.mark.parametrize(("number", "units"), [(2, 2), (1, 6)])
def test_group_norms_lose_whole_groups_or_channels_of_their_single_one(number, units):
    network = Net(
        lambda m, x: m.head(F.relu(m.n(m.a(x))).mean((2, 3))),
        a=nn.Conv2d(3, 6, 1),
        n=nn.GroupNorm(number, 6),
        head=head(6),
    )
    assert groups(network) == {"a.weight": (units,)}
    small = removed(network, {"a.weight": [True] + [False] * (units - 1)})
    assert (small.n.num_groups, small.n.num_channels) == (1, 6 // units)


def test_squeeze_and_excite_gates_go_with_what_they_gate():
    def forward(m, x):
        x = m.a(x)
        return m.head((x * m.up(F.silu(m.down(x.mean((2, 3), keepdim=True)))).sigmoid()).mean((2, 3)))

    network = Net(forward, a=nn.Conv2d(3, 6, 1), down=nn.Conv2d(6, 2, 1), up=nn.Conv2d(2, 6, 1), head=head(6))
    assert groups(network) == {"a.weight": (6, "up.weight"), "down.weight": (2,)}
    removed(network, {"a.weight": [0, 1, 1, 1, 0, 1], "down.weight": [0, 1]})


def test_a_map_over_the_plane_that_gates_all_channels_stays():
    network = Net(
        lambda m, x: m.head((m.a(x) * m.gate(x).chunk(2, 1)[0].sigmoid()).mean((2, 3))),
        a=nn.Conv2d(3, 6, 1), gate=nn.Conv2d(3, 2, 1), head=head(6),
    )  # fmt: skip
    assert groups(network) == {"a.weight": (6,)}


def test_a_gated_linear_unit_ties_its_halves():
    network = nn.Sequential(nn.Flatten(), nn.Linear(192, 12), nn.GLU(), head(6))
    assert groups(network) == {"1.weight": (6,)}
    halves = Net(
        lambda m, x: m.head(F.silu(m.a(x.flatten(1)).chunk(2, 1)[0]) * m.a(x.flatten(1)).chunk(2, 1)[1]),
        a=nn.Linear(192, 12), head=head(6),
    )  # fmt: skip
    assert groups(halves) == {"a.weight": (6,)}
    assert removed(halves, {"a.weight": [1, 0, 1, 1, 0, 1]}).a.weight.shape == (8, 192)


def test_layer_scale_and_layer_norm_go_along():
    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem, self.norm, self.up, self.down = (
                nn.Conv2d(3, 6, 1),
                nn.LayerNorm(6),
                nn.Linear(6, 8),
                nn.Linear(8, 6),
            )
            self.gamma, self.head = nn.Parameter(torch.rand(6)), head(6)

        def forward(self, x):
            x = self.stem(x).permute(0, 2, 3, 1)
            x = x + self.gamma * self.down(F.gelu(self.up(self.norm(x))))
            return self.head(x.mean((1, 2)))

    assert groups(Block()) == {"stem.weight": (6, "down.weight"), "up.weight": (8,)}
    small = removed(Block(), {"stem.weight": [1, 0, 1, 0, 1, 1]})
    assert small.gamma.shape == (4,)
    assert small.norm.normalized_shape == (4,)


# --- uses of a kind of their own -------------------------------------------------------------------------------------


def test_a_layer_called_twice_ties_its_ends():
    network = Net(
        lambda m, x: m.head(m.b(m.b(m.a(x))).mean((2, 3))),
        a=nn.Conv2d(3, 5, 1),
        b=nn.Conv2d(5, 5, 3, padding=1),
        head=head(5),
    )
    assert groups(network) == {"a.weight": (5, "b.weight")}
    assert removed(network, {"a.weight": [1, 0, 0, 1, 1]}).b.weight.shape == (3, 3, 3, 3)


def test_recurrent_gates_go_by_hidden_unit():
    class Cell(nn.Module):
        def __init__(self):
            super().__init__()
            self.hidden, self.given, self.state, self.head = 5, nn.Linear(24, 10), nn.Linear(5, 10), head(5)

        def forward(self, x):
            state = torch.zeros(len(x), self.hidden, dtype=x.dtype)
            for row in x.transpose(1, 2).flatten(2).unbind(1):
                gate, value = (self.given(row) + self.state(state)).chunk(2, -1)
                state = gate.sigmoid() * value.tanh() + state
            return self.head(state)

    # the state begins with as many zeros as an attribute says, which no view shows: nothing of it may go
    assert groups(Cell()) == {}


def test_an_operator_that_is_not_followed_freezes_what_it_touches():
    network = Net(
        lambda m, x: m.head(m.b(m.a(x).sort(1).values).mean((2, 3))),
        a=nn.Conv2d(3, 6, 1), b=nn.Conv2d(6, 5, 1), head=head(5),
    )  # fmt: skip
    assert groups(network) == {"b.weight": (5,)}
    assert structure(network).fixed["a.weight"] == "the operator sort is not followed"


def test_a_trial_removal_refuses_what_counts_positions():
    network = Net(
        lambda m, x: m.head((m.a(x)[:, :3] * 2).mean((2, 3))), a=nn.Conv2d(3, 6, 1), head=head(3)
    )  # channel 3 would take the place of one that went
    assert structure_of(network.eval(), inputs(*IMAGE)[:1]).groups
    assert structure(network).fixed["a.weight"] == CRASHED
    network = Net(
        lambda m, x: m.head((m.a(x) * (torch.arange(len(m.a.weight)) % 2)[:, None, None]).mean((2, 3))),
        a=nn.Conv2d(3, 6, 1), head=head(6),
    )  # fmt: skip
    assert structure(network).fixed["a.weight"] == FAILED


@pytest.mark.parametrize(
    ("bad", "most"),
    [
        ([], 1),
        (["a7"], 21),
        ([f"a{place}" for place in range(24)], 37),
        ([f"b{place}" for place in range(16)], 45),
        ([f"{kind}{place}" for kind in "abc" for place in range(24)], 78),
    ],
)
def test_groups_that_fail_are_found_in_few_trials(bad, most):
    names, tried = [f"{kind}{place}" for place in range(24) for kind in "abc"], []

    def works(some):
        tried.append(some)
        return not set(some) & set(bad)

    assert sorted(_proved(_alike_together(names), works)) == sorted(set(names) - set(bad))
    assert len(tried) <= most


def test_groups_that_fail_together_only_are_not_all_given_up():
    def works(some):
        return not {"a", "c"} <= set(some)

    assert _proved(["a", "b", "c", "d"], works) == ["a", "b"]


def test_what_stays_says_why():
    network = Net(
        lambda n, x: n.head(F.conv2d(x, 2 * n.one.weight).mean((2, 3))),
        one=nn.Conv2d(3, 6, 1), head=head(6), idle=nn.Linear(3, 3),
    )  # fmt: skip
    assert structure(network).fixed == {"one.weight": COMPUTED, "head.weight": OUTPUT, "idle.weight": UNSEEN}
    network = Net(
        lambda n, x: n.head(n.mix(n.stem(x).flatten(2)).mean(2)),
        stem=nn.Conv2d(3, 6, 1), mix=nn.Linear(64, 5), head=head(6),
    )  # fmt: skip
    assert structure(network).fixed == {"mix.weight": ACROSS, "head.weight": OUTPUT}
    tied = Net(lambda n, x: n.head(n.table(x)), table=nn.Embedding(7, 4), head=nn.Linear(4, 7))
    tied.head.weight = tied.table.weight
    assert structure_of(tied.eval(), torch.tensor([[1, 2]])).fixed == {"head.weight": SHARED}


def test_weights_that_are_computed_first_stay():
    network = Net(
        lambda m, x: m.head(F.conv2d(x, m.a.weight / m.a.weight.norm()).mean((2, 3))),
        a=nn.Conv2d(3, 6, 1),
        head=head(6),
    )
    assert groups(network) == {}


def test_mixing_over_tokens_leaves_channels_alone():
    network = Net(
        lambda m, x: m.head((m.a(x).flatten(2) + m.mix(m.a(x).flatten(2))).mean(2)),
        a=nn.Conv2d(3, 6, 1), mix=nn.Linear(64, 64), head=head(6),
    )  # fmt: skip
    assert groups(network) == {"a.weight": (6,)}
    removed(network, {"a.weight": [1, 0, 1, 1, 1, 0]})


def test_values_written_into_a_tensor_are_followed():
    def forward(m, x):
        x = m.a(x)
        padded = torch.zeros(len(x), x.shape[1] + 2, 8, 8, dtype=x.dtype)
        padded[:, 2:] = x
        return m.head(m.b(padded).mean((2, 3)))

    network = Net(forward, a=nn.Conv2d(3, 4, 1), b=nn.Conv2d(6, 5, 1), head=head(5))
    assert groups(network) == {"a.weight": (4,), "b.weight": (5,)}
    assert torch.equal(removed(network, {"a.weight": [0, 1, 1, 1]}).b.weight, network.b.weight[:, [0, 1, 3, 4, 5]])


# --- parts -----------------------------------------------------------------------------------------------------------


def test_atoms_are_tied_and_frozen_with_reasons():
    atoms = Atoms()
    first = atoms.new(6)
    line = torch.arange(first, first + 6)
    atoms.unite(line[[0, 1, 4]], line[[1, 2, 5]], "why")
    assert atoms.roots(line).tolist() == [1, 1, 1, 4, 5, 5]
    atoms.unite(line[[4, 3]], torch.tensor([KEPT, FREE]), "kept")
    assert atoms.is_frozen(atoms.roots(line)).tolist() == [False] * 4 + [True] * 2
    assert (atoms.reason(6), atoms.reason(3)) == ("kept", None)
    atoms.unite(line[5:], line[:1], "later")
    assert {atoms.reason(int(atom)) for atom in line[[0, 1, 2, 4, 5]]} == {"kept"}


def test_zeroed_is_what_removal_is_compared_with():
    network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Sigmoid(), nn.Flatten(), nn.Linear(256, 4))
    kept = {"0.weight": torch.tensor([True, False, True, True])}
    found = structure(network)
    small = cut_channels(copy.deepcopy(network), found.edit(network, kept))
    with torch.no_grad():
        assert torch.allclose(small(inputs(*IMAGE)), zeroed(network, found, kept)(inputs(*IMAGE)), atol=1e-6)
    assert STAYS not in found.groups["0.weight"].layers["0.weight"]
