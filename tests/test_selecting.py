"""The stage prune for methods that train before they choose."""

import pytest
import torch

from prunery import gates
from prunery.contract import Selector
from prunery.errors import PruneryError
from prunery.layers import weights
from prunery.needs import Need, parse_need
from prunery.registry import registry
from prunery.selecting import select
from prunery.selection import Length, Selection, SelectionSettings, length
from prunery.toys import measured_by, same_states, states, toy_checkpoint, toy_images, toy_registered

FEW = {"least_batches": 3, "most_epochs": 3, "batch_size": 32}
TOTAL = 72 + 576 + 512 + 64


@pytest.fixture(autouse=True)
def _toy():
    with toy_registered():
        yield


def selected(method, parent, lines=None):
    told = (lambda line: None) if lines is None else lines.append
    return select(method, parent, toy_images(), measured_by(method, parent), told)


def ser(**settings):
    return registry().configured("prune", "ser", {**FEW, **settings})


def masks(network):
    return {key.removesuffix("/mask"): value for key, value in network.named_buffers() if key.endswith("/mask")}


@pytest.mark.parametrize(
    ("settings", "batches", "share", "wanted"),
    [
        ({}, 5004, 0.33, Length(1, 1652)),  # an ImageNet epoch of batches of 256
        ({"batches_scaled": False}, 5004, 0.33, Length(1, 5004)),
        ({}, 188, 0.33, Length(1, 128)),  # never fewer than 128
        ({}, 100, 0.33, Length(1, 100)),  # unless a pass is shorter
        ({"most_epochs": None}, 100, 0.33, Length(2, 64)),  # spread evenly
        ({"most_epochs": None}, 5, 0.33, Length(26, 5)),
        ({"most_epochs": 2, "epochs": 4, "least_batches": 1}, 10, 1.0, Length(2, 10)),
        ({"most_epochs": 3, "epochs": 3, "least_batches": 1}, 10, 0.5, Length(2, 8)),
    ],
)
def test_how_long_a_reservoir_is_trained(settings, batches, share, wanted):
    assert length(SelectionSettings(**settings), batches, share) == wanted


def test_needs_of_the_dense_network():
    assert parse_need("dense:spectral_fit=mp") == Need("spectral_fit", "mp", dense=True)
    with pytest.raises(PruneryError, match="it needs 'dense:evaluate=standard', which is no measurement"):
        parse_need("dense:evaluate=standard")


def test_sparsity_is_exact_and_what_was_kept_keeps_its_value():
    parent = toy_checkpoint(masked=True)
    before = [states(network) for network in parent.networks]
    made = selected(ser(sparsity=0.45), parent)
    gates.check(ser(sparsity=0.45), parent, made)
    assert all(same_states(states(one), was) for one, was in zip(parent.networks, before, strict=True))
    for seed, replica in made.items():
        child, found = weights(replica.network), masks(replica.network)
        assert sum(int((weight == 0).sum()) for weight in child.values()) == int(0.45 * TOTAL)
        assert sum(int((~mask).sum()) for mask in found.values()) == int(0.45 * TOTAL)
        moved = sum(
            int((child[key][mask] != weight[mask]).sum())
            for (key, weight), mask in zip(weights(parent.replicas[seed].network).items(), found.values(), strict=True)
        )
        assert 0 < moved <= int(0.48 * TOTAL) - int(0.45 * TOTAL)  # those that came back, and no others
        older = masks(parent.replicas[seed].network)
        assert any(bool((found[key] & ~older[key]).any()) for key in older), "nothing revived"


def test_values_come_back_as_learned_or_as_they_were():
    parent = toy_checkpoint((0,))
    learned, as_before = (selected(ser(restored_value=value), parent)[0].network for value in ("trained", "parent"))
    original = weights(parent.networks[0])
    for key, mask in masks(learned).items():
        assert torch.equal(masks(as_before)[key], mask)
        assert torch.equal(weights(as_before)[key], original[key] * mask)
    assert not all(torch.equal(weights(learned)[key], weights(as_before)[key]) for key in original)


def test_layers_that_are_excluded_keep_weights_and_masks():
    parent = toy_checkpoint((0,), masked=True)
    made = selected(ser(exclude=["5.weight", "7.weight"]), parent)[0].network
    for key in ("5.weight", "7.weight"):
        assert torch.equal(weights(made)[key], weights(parent.networks[0])[key])
    assert torch.equal(masks(made)["5.weight"], masks(parent.networks[0])["5.weight"])
    assert "7.weight" not in masks(made)
    assert sum(int((~mask).sum()) for key, mask in masks(made).items() if key != "5.weight") == int(0.5 * (72 + 576))


def test_a_replica_is_the_same_in_any_company():
    both, one = (selected(ser(), toy_checkpoint(seeds)) for seeds in ((3, 5), (5,)))
    for key, mask in masks(one[5].network).items():
        assert torch.equal(masks(both[5].network)[key], mask)
        assert torch.allclose(weights(both[5].network)[key], weights(one[5].network)[key], atol=1e-5)


class Scripted(Selector):
    """Tries without a layer's first half, and answers with whatever the test wants."""

    name = "scripted"

    def __init__(self, answer, rate=1e-3):
        super().__init__()
        self.answer, self.rate = answer, rate

    def trial(self, weights, measured, generator):
        kept = torch.ones(16, 32, dtype=torch.bool)
        kept[:8] = False
        return {"5.weight": kept}

    def learner(self):
        return Selection(SelectionSettings(learning_rate=self.rate, least_batches=2, most_epochs=2, batch_size=64))

    def select(self, before, after, trial, measured, generator):
        assert not before["5.weight"][:8].any()
        assert after["5.weight"][:8].any()
        assert torch.equal(after["5.weight"][8:], before["5.weight"][8:])
        return self.answer(trial["5.weight"])


def test_masks_that_do_not_fit_are_refused():
    refused = [
        (lambda kept: {"5.weight": ~kept}, "drops weights of 5.weight that its trial kept"),
        (lambda kept: {}, "drops weights of 5.weight that its trial kept"),
        (lambda kept: {"5.weight": kept[:4]}, r"its mask for 5.weight is torch.bool \[4, 32\]"),
        (lambda kept: {"5.weight": kept, "5.bias": kept}, "'5.bias', which is no compressible weight"),
    ]
    for answer, said in refused:
        with pytest.raises(PruneryError, match=f"prune method 'scripted', seed 0: .*{said}"):
            selected(Scripted(answer), toy_checkpoint((0,)))


def test_a_reservoir_whose_loss_explodes_is_an_error():
    with pytest.raises(PruneryError, match="lower 'learning_rate'"):
        selected(Scripted(lambda kept: {"5.weight": kept}, rate=1e30), toy_checkpoint((0,)))


def test_broken_parents_are_refused():
    parent = toy_checkpoint((0,))
    parent.networks[0].get_parameter("5.weight").data[0, 0] = float("nan")
    with pytest.raises(PruneryError, match=r"the parent's 5\.weight holds NaN"):
        select(ser(), parent, toy_images(), {0: {"mp": {}}}, lambda line: None)
    with pytest.raises(PruneryError, match="it needs dense:spectral_fit=mp, which was not measured"):
        select(ser(), toy_checkpoint((0,)), toy_images(), {}, lambda line: None)
