"""When SER takes over from magnitude pruning, and that each does what it does elsewhere."""

import pytest
import torch
from prunery_plugins.prune.hybrid.core import has_dropped

from prunery.prune import generator_of, prune
from prunery.registry import registry
from prunery.selecting import select
from prunery.toys import measured_by, same_states, states, toy_checkpoint, toy_images, toy_registered

FEW = {"least_batches": 3, "most_epochs": 3, "batch_size": 32}


def configured(**settings):
    return registry().configured("prune", "hybrid", settings)


def network(accuracy, sparsity):
    return {"validation": {"accuracy": accuracy}, "weight_sparsity": sparsity}


def history(*accuracies):
    """A dense network and one cycle for each further accuracy; right after a cut it is always poor."""
    rows, folder = {"results/net/seeds=0-2": network(accuracies[0], 0.0)}, "results/net/seeds=0-2"
    for step, accuracy in enumerate(accuracies[1:], start=1):
        folder += f"/prune=hybrid@{step / 20:.2f}"
        rows[folder] = network(0.1, step / 20)
        folder += "/finetune=one"
        rows[folder] = network(accuracy, step / 20)
    return rows


@pytest.mark.parametrize(
    ("accuracies", "drop", "reference", "wanted"),
    [
        ((0.80,), 0.7, 0.0, False),
        ((0.80, 0.7931, 0.7935), 0.7, 0.0, False),  # what is poor before its fine-tuning does not count
        ((0.80, 0.7929), 0.7, 0.0, True),
        ((0.80, 0.79, 0.81, 0.82), 0.7, 0.0, True),  # once dropped, always dropped
        ((0.80, 0.70, 0.70, 0.70), 0.7, 0.20, False),  # nothing is as sparse as the reference yet
        ((0.80, 0.70, 0.70, 0.70, 0.60, 0.599), 0.7, 0.20, False),  # the drop counts from 0.60
        ((0.80, 0.70, 0.70, 0.70, 0.60, 0.59), 0.7, 0.20, True),
    ],
)
def test_a_drop_is_told_by_the_validation_accuracies_on_the_way(accuracies, drop, reference, wanted):
    assert has_dropped(history(*accuracies), drop, reference) is wanted


def test_needs_follow_the_switch():
    assert configured(sparsity=0.2).needs() == ()
    assert configured(sparsity=0.25).needs() == ("dense:spectral_fit=mp",)
    assert configured(sparsity=0.1, switch="drop", evaluation="mine").needs() == (
        "dense:spectral_fit=mp",
        "history:evaluate=mine",
    )


def test_up_to_the_switch_it_is_magnitude_and_trains_nothing():
    parent = toy_checkpoint(masked=True)
    magnitude = registry().configured("prune", "magnitude", {"sparsity": 0.35})
    wanted, lines = prune(magnitude, parent, {}), []
    with toy_registered():
        found = select(configured(sparsity=0.35, switch=0.35), parent, toy_images(), {}, lines.append)
    assert lines == []
    for seed, replica in found.items():
        assert same_states(states(replica.network), states(wanted[seed].network))
        assert replica.edits == wanted[seed].edits


def test_beyond_it_it_is_ser():
    parent = toy_checkpoint((0,))
    ser = registry().configured("prune", "ser", {"sparsity": 0.35, **FEW})
    hybrid = configured(sparsity=0.35, switch=0.30, **FEW)
    with toy_registered():
        wanted, found = (
            select(method, parent, toy_images(), measured_by(method, parent), lambda line: None)[0]
            for method in (ser, hybrid)
        )
    assert same_states(states(found.network), states(wanted.network))


def test_a_drop_decides_for_every_replica_by_itself():
    weights = {"a": torch.arange(1.0, 101).reshape(10, 10)}
    method = configured(sparsity=0.3, switch="drop")
    fitted = {"mp": {"a": {"sigma_plus": 1.0, "hill": 2.0}}}
    fine, poor = (fitted | {"standard": history(0.8, accuracy)} for accuracy in (0.8, 0.7))
    assert method.trial(weights, fine, generator_of(0)) == {}
    assert int((~method.trial(weights, poor, generator_of(0))["a"]).sum()) == 33
    kept = method.select(weights, weights, {}, fine, generator_of(0))["a"]
    assert torch.equal(kept, weights["a"] > 30)
