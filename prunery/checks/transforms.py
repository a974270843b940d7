"""What is asked of the methods that turn one network into another: prune, finetune, distill, quantize, train."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from prunery import gates, toys
from prunery.checkpoint import Checkpoint, Origin, Replica
from prunery.checks.base import Case, check, is_json, outputs, seeded, silent, stage_function
from prunery.contract import ChannelPruner, Pruner, Rewirer, Selector
from prunery.layers import layer_of, quantized_layers, weights
from prunery.plans import check_plan
from prunery.registry import registry


def _transformed(method: Any, parent: Checkpoint) -> dict[int, Replica]:
    """What the method's stage makes of a checkpoint, past the gates."""
    stage = stage_function(method.stage)
    if isinstance(method, Selector):
        from prunery.selecting import select

        replicas = select(method, parent, toys.toy_images(), toys.measured_by(method, parent), silent)
    elif method.stage == "prune":
        replicas = stage(method, parent, toys.measured_by(method, parent), toys.toy_checkpoint(parent.seeds))
    elif method.stage == "quantize":
        replicas = stage(method, parent, toys.measured_by(method, parent))
    elif method.stage == "finetune":
        replicas, outcome = stage(method, parent, toys.toy_images(), silent)
        is_json(outcome.history)
    else:
        replicas, outcome = stage(method, parent, toys.toy_checkpoint((7,)), toys.toy_images(), silent)
        is_json(outcome.history)
    gates.check(method, parent, dict(replicas))
    return dict(replicas)


def _parent(method: Any, masked: bool = False) -> Checkpoint:
    """Toy networks that a method may be given: past the first step it must follow, in that step's default settings."""
    parent = toys.toy_checkpoint(masked=masked)
    step = next((rule for rule in method.follows if not rule.startswith("train")), None)
    if step is None:
        return parent
    stage, _, name = step.partition("=")
    earlier = registry().configured(stage, name or registry().names(stage)[0], {})
    return parent.child(_transformed(earlier, parent), {})


def _masks(network: nn.Module) -> dict[str, Tensor]:
    return {key: value for key, value in network.named_buffers() if key.endswith("/mask")}


@check("prune", "finetune", "distill", "quantize")
def transform_is_repeatable_and_leaves_its_parent(case: Case) -> None:
    """Twice the same bytes and edits; the parent is as before; the child is not the parent (no silent no-op)."""
    parent = _parent(case.configured(), masked=True)
    before = {seed: toys.states(replica.network) for seed, replica in parent.replicas.items()}
    first, second = (_transformed(case.configured(), parent) for _ in range(2))
    assert list(first) == list(second) == parent.seeds
    for seed in parent.seeds:
        child = toys.states(first[seed].network)
        assert toys.same_states(toys.states(parent.replicas[seed].network), before[seed]), "the parent was changed"
        assert toys.same_states(child, toys.states(second[seed].network)), "two runs differ"
        assert first[seed].edits == second[seed].edits
        assert not toys.same_states(child, before[seed]), "nothing was changed"


@check("prune", "finetune", "distill", "quantize")
def transform_survives_save_and_load(case: Case) -> None:
    """The network read back gives the same outputs bit for bit, finite ones."""
    parent = _parent(case.configured(), masked=True)
    child = parent.child(_transformed(case.configured(), parent), {})
    again = toys.reloaded(child, case.tmp / "child")
    for made, read in zip(child.networks, again.networks, strict=True):
        wanted = outputs(made)
        assert wanted.isfinite().all()
        assert torch.equal(outputs(read), wanted)


@check("finetune", "distill", "quantize")
def transform_keeps_masks(case: Case) -> None:
    """What a mask froze is still zero, and the mask is still there."""
    parent = _parent(case.configured(), masked=True)
    for seed, replica in _transformed(case.configured(), parent).items():
        older = _masks(parent.replicas[seed].network)
        state = toys.states(replica.network)
        state |= {key: layer.stored() for key, layer in quantized_layers(replica.network)}  # int4: two to a byte
        assert older
        for key, mask in older.items():
            assert torch.equal(state[key], mask)
            assert not state[key.removesuffix("/mask")][~mask].any(), f"{key}: a frozen weight moved"


@check("prune")
def masks_fit_the_weights(case: Case) -> None:
    """Known keys, shape, bool, on the weights' device; the weights untouched; the same seed, the same masks."""
    method = case.configured()
    if not isinstance(method, Pruner):
        return  # it answers with something else, which its stage checks
    parent = _parent(method)
    measured = toys.measured_by(method, parent)
    for seed, replica in parent.replicas.items():
        shown, before = weights(replica.network), toys.states(replica.network)
        first, second = (method.masks(shown, measured[seed], seeded(seed)) for _ in range(2))
        assert toys.same_states(toys.states(replica.network), before), "the weights were changed"
        assert toys.same_states(first, second), "the same seed gave different masks"
        assert set(first) <= set(shown)
        for key, mask in first.items():
            assert (mask.dtype, mask.shape, mask.device.type) == (torch.bool, shown[key].shape, "cpu"), key


@check("prune")
def pruned_weights_are_zero_and_stay_pruned(case: Case) -> None:
    """Through the stage: the masks are in the network, what they drop is zero; nothing pruned earlier revives.

    Methods that choose values, or train what was pruned, may revive it.
    """
    method, parent = case.configured(), _parent(case.configured(), masked=True)
    if isinstance(method, ChannelPruner | Rewirer):
        return  # `prunery.checks.channels` asks the first, the second has no say in masks
    for seed, replica in _transformed(method, parent).items():
        older = _masks(parent.replicas[seed].network)
        masks = _masks(replica.network)
        assert set(older) <= set(masks)
        if isinstance(method, Pruner):
            assert not any((masks[key] & ~older[key]).any() for key in older), "a frozen weight was revived"
        for key, mask in masks.items():
            assert not replica.network.get_parameter(key.removesuffix("/mask"))[~mask].any(), key


@check("train", "finetune", "distill")
def loss_is_per_replica(case: Case) -> None:
    """One finite mean per replica, which is what the replica alone would get, with a gradient."""
    method = case.configured()
    generator = seeded(0)
    logits, teacher = (torch.randn(3, 8, 4, generator=generator) for _ in range(2))
    labels = torch.randint(0, 4, (3, 8), generator=generator)
    loss = method.loss(logits.requires_grad_(), labels, teacher if method.teacher else None)
    assert loss.shape == (3,)
    loss.sum().backward()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()
    assert logits.grad.abs().sum() > 0
    for one in (slice(index, index + 1) for index in range(3)):
        alone = method.loss(logits[one], labels[one], teacher[one] if method.teacher else None)
        assert torch.allclose(alone, loss[one], rtol=1e-6, atol=0)


@check("train")
def training_is_repeatable_and_learns(case: Case) -> None:
    """Same seeds, same bytes; the networks beat chance on what they were trained on; the checkpoint reads back."""
    dataset = toys.toy_images()
    origin = Origin("toy", {"width": 8}, dataset.spec)
    runs = [
        stage_function("train")(case.configured(), toys.ToyNetwork(), origin, dataset, [0, 1], silent) for _ in range(2)
    ]
    (first, history), (second, _) = runs
    is_json(history)
    again = toys.reloaded(first, case.tmp / "trained")
    assert first.seeds == [0, 1]
    for one, two, read in zip(first.networks, second.networks, again.networks, strict=True):
        assert toys.same_states(toys.states(one), toys.states(two)), "two runs differ"
        assert torch.equal(outputs(one), outputs(read))
    inputs, labels = next(dataset.batches("train", 128))
    right = [float((network(inputs).argmax(1) == labels).float().mean()) for network in again.networks]
    assert min(right) > 0.3, f"accuracy {right} on the training samples of four even classes"


@check("quantize")
def plans_fit_the_weights(case: Case) -> None:
    """Known keys; weights and scales of the types and shapes that their formats ask for; the weights untouched."""
    method = case.configured()
    parent = _parent(method)
    measured = toys.measured_by(method, parent)
    for seed, replica in parent.replicas.items():
        shown, before = weights(replica.network), toys.states(replica.network)
        plans = method.plan(shown, measured[seed])
        assert toys.same_states(toys.states(replica.network), before), "the weights were changed"
        assert plans, "nothing is quantized"
        assert set(plans) <= set(shown)
        for key, plan in plans.items():
            check_plan(plan, layer_of(replica.network, key), key)


@check("quantize")
def stored_weights_are_near_the_weights(case: Case) -> None:
    """What is stored is correlated above 0.9 with the weights it stands for."""
    parent = _parent(case.configured())
    for seed, replica in _transformed(case.configured(), parent).items():
        layers = dict(quantized_layers(replica.network))
        assert layers, "nothing is quantized"
        for key, layer in layers.items():
            original = layer_of(parent.replicas[seed].network, key).get_parameter("weight")
            pair = torch.stack([layer.real_weight().flatten(), original.detach().flatten()])
            assert float(torch.corrcoef(pair)[0, 1]) > 0.9, key
