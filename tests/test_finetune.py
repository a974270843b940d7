"""Fine-tuning: masks stay, parents stay, edits go along."""

from __future__ import annotations

from copy import deepcopy

import pytest
import torch

from prunery import PruneryError
from prunery.edits import integers_edit, replay
from prunery.finetune import finetune
from prunery.registry import registry
from prunery.toys import reloaded, same_states, states, toy_checkpoint, toy_images, toy_registered

KEYS = ("2.weight", "5.weight")


@pytest.fixture(autouse=True)
def _toy():
    with toy_registered():
        yield


def recipe(**settings):
    return registry().configured("finetune", "supervised", {"epochs": 3, "batch_size": 24, **settings})


def finetuned(parent, **settings):
    return finetune(recipe(**settings), parent, toy_images(), lambda _: None)


@pytest.mark.parametrize(
    "settings",
    [
        {"optimizer": "sgd", "learning_rate": 0.05, "momentum": 0.9, "weight_decay": 0.1, "clip_norm": 1.0},
        {"optimizer": "adamw", "weight_decay": 0.1},
        {"optimizer": "adam", "weight_decay": 0.1, "patience": 1},
    ],
    ids=["sgd", "adamw", "adam"],
)
def test_masked_weights_stay_exactly_zero_and_the_others_move(settings):
    parent = toy_checkpoint(masked=True)
    replicas, _ = finetuned(parent, **settings)
    for seed, replica in replicas.items():
        before, after = states(parent.replicas[seed].network), states(replica.network)
        for key in KEYS:
            mask = after[f"{key}/mask"]
            assert torch.equal(mask, before[f"{key}/mask"])
            assert not after[key][~mask].any()
            assert not torch.signbit(after[key][~mask]).any(), "zeros have one spelling"
            assert (after[key][mask] != before[key][mask]).float().mean() > 0.9


def test_the_parent_is_untouched_and_its_edits_carry_over():
    parent = toy_checkpoint(masked=True)
    before = {seed: states(replica.network) for seed, replica in parent.replicas.items()}
    replicas, outcome = finetuned(parent)
    assert list(replicas) == list(outcome.history) == parent.seeds
    for seed, replica in replicas.items():
        assert same_states(states(parent.replicas[seed].network), before[seed])
        assert replica.edits == parent.replicas[seed].edits
        assert replica.edits is not parent.replicas[seed].edits
        assert not replica.network.training


def test_a_result_survives_save_and_load(tmp_path):
    parent = toy_checkpoint(masked=True)
    replicas, _ = finetuned(parent)
    child = parent.child(replicas, {})
    again = reloaded(child, tmp_path)
    for seed in child.seeds:
        assert same_states(states(child.replicas[seed].network), states(again.replicas[seed].network))


def test_in_company_or_alone_is_the_same():
    parent = toy_checkpoint(seeds=(0, 1, 2), masked=True)
    together, outcome = finetuned(parent)
    for seed in parent.seeds:
        only = toy_checkpoint(seeds=(seed,), masked=True)
        alone, single = finetuned(only)
        for key, value in states(together[seed].network).items():
            assert torch.allclose(value.float(), states(alone[seed].network)[key].float(), atol=2e-5), key
        assert outcome.history[seed][-1] == pytest.approx(single.history[seed][-1], rel=1e-3)


def test_replicas_of_different_edits_are_looped_and_agree_too():
    plain, masked = toy_checkpoint(seeds=(0,)), toy_checkpoint(seeds=(1,), masked=True)
    mixed = deepcopy(plain)
    mixed.replicas |= masked.replicas
    replicas, _ = finetuned(mixed)
    alone, _ = finetuned(masked)
    assert same_states(states(replicas[1].network), states(alone[1].network))
    assert not any("/" in key for key in states(replicas[0].network))


def test_quantized_networks_are_refused():
    parent = toy_checkpoint()
    for replica in parent.replicas.values():
        edit = integers_edit(["5.weight"])
        replay(replica.network, [edit])
        replica.edits.append(edit)
    with pytest.raises(PruneryError, match=r"5\.weight is quantized and cannot be trained: put 'quantize' after"):
        finetuned(parent)
