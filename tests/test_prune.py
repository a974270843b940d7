"""The stage prune: what it does with a method's answer, and what it refuses."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from prunery import gates
from prunery.checkpoint import Checkpoint, Replica
from prunery.contract import LayerPruner, Pruner
from prunery.edits import add_masks, mask_edit, replay
from prunery.errors import PruneryError
from prunery.integer import integer_layer
from prunery.layers import weights
from prunery.prune import generator_of, prune
from prunery.registry import registry
from prunery.toys import reloaded, same_states, states, toy_build, toy_checkpoint


class Scripted(Pruner):
    """Answers with whatever the test wants."""

    name = "scripted"

    def __init__(self, answer: Callable[[Any], Any], needs: tuple[str, ...] = ()) -> None:
        super().__init__()
        self.answer, self.wanted = answer, needs

    def needs(self):
        return self.wanted

    def masks(self, weights, measured, generator):
        return self.answer(weights)


class FirstRow(LayerPruner):
    """Prunes the first output of each layer."""

    name = "first_row"

    def mask(self, key, weight, measured, generator):
        kept = torch.ones_like(weight, dtype=torch.bool)
        kept[0] = False
        return kept


def magnitude(sparsity: float) -> Any:
    return registry().configured("prune", "magnitude", {}, amount=sparsity)


def zeros(network) -> int:
    return sum(int((weight == 0).sum()) for weight in weights(network).values())


def test_masks_are_applied_recorded_and_read_back(tmp_path):
    parent = toy_checkpoint()
    total = sum(weight.numel() for weight in weights(parent.networks[0]).values())
    assert total == 72 + 576 + 512 + 64
    child = parent.child(prune(magnitude(0.7), parent, {}), {})
    for seed, replica in child.replicas.items():
        assert zeros(replica.network) == int(0.7 * total)
        assert replica.edits == [{"edit": "mask", "keys": ["0.weight", "2.weight", "5.weight", "7.weight"]}]
        assert zeros(parent.replicas[seed].network) == 0
    again = reloaded(child, tmp_path)
    assert all(same_states(states(a), states(b)) for a, b in zip(again.networks, child.networks, strict=True))


def test_pruning_again_narrows_the_mask_and_records_no_second_edit():
    first = toy_checkpoint().child(prune(magnitude(0.3), toy_checkpoint(), {}), {})
    second = prune(magnitude(0.6), first, {})
    for seed, replica in second.items():
        assert len(replica.edits) == 1
        before, after = (dict(net.named_buffers()) for net in (first.replicas[seed].network, replica.network))
        assert not any((after[key] & ~before[key]).any() for key in before)
        assert sum(int((~mask).sum()) for mask in after.values()) == int(0.6 * 1224)


def test_a_mask_never_revives_what_an_earlier_one_froze():
    parent = toy_checkpoint(masked=True)
    ignorant = Scripted(lambda shown: FirstRow().masks(shown, {}, torch.Generator()))
    for seed, replica in prune(ignorant, parent, {}).items():
        older = dict(parent.replicas[seed].network.named_buffers())
        assert older
        for key, mask in older.items():
            weight = replica.network.get_parameter(key.removesuffix("/mask"))
            assert torch.equal(dict(replica.network.named_buffers())[key][1:], mask[1:])
            assert not weight[0].any()
            assert not weight[~mask].any()


def test_layers_left_out_get_no_mask():
    only = Scripted(lambda shown: {"5.weight": torch.zeros_like(shown["5.weight"], dtype=torch.bool)})
    replica = prune(only, toy_checkpoint((3,)), {})[3]
    assert [key for key, _ in replica.network.named_buffers()] == ["5.weight/mask"]
    assert zeros(replica.network) == 512
    later = prune(magnitude(0.9), Checkpoint(toy_checkpoint().origin, {3: replica}), {})[3]
    assert later.edits == [mask_edit(["5.weight"]), mask_edit(["0.weight", "2.weight", "7.weight"])]
    replayed = replay(toy_build(toy_checkpoint().origin), later.edits)
    assert replayed.state_dict().keys() == later.network.state_dict().keys()


def keep_all(shown):
    return {key: torch.ones_like(weight, dtype=torch.bool) for key, weight in shown.items()}


def spoil(shown):
    shown["5.weight"].mul_(2)
    return FirstRow().masks(shown, {}, torch.Generator())


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (spoil, "changed the weight 5.weight"),
        (lambda shown: {"9.weight": torch.ones(3, dtype=torch.bool)}, "'9.weight', which is no compressible weight"),
        (
            lambda shown: {"7.weight": torch.zeros(16, 4, dtype=torch.bool)},
            r"torch.bool \[16, 4\], wanted .* \[4, 16\]",
        ),
        (lambda shown: {"7.weight": torch.zeros(4, 16)}, "torch.float32"),
    ],
)
def test_bad_answers_name_the_method(answer, said):
    with pytest.raises(PruneryError, match=rf"prune method 'scripted', seed 0: .*{said}"):
        prune(Scripted(answer), toy_checkpoint(), {})


def test_a_step_that_removes_nothing_new_is_an_error():
    parent = toy_checkpoint()
    pruned = parent.child(prune(magnitude(0.7), parent, {}), {})
    again = prune(magnitude(0.5), pruned, {})
    with pytest.raises(PruneryError, match="promises more weights held at zero, but there were 856 and are 856"):
        gates.check(magnitude(0.5), pruned, again)


def test_a_quantized_network_is_refused():
    parent = toy_checkpoint((0,))
    parent.networks[0][5] = integer_layer(parent.networks[0][5])
    with pytest.raises(PruneryError, match=r"5\.weight is quantized already: put prune before quantize"):
        prune(magnitude(0.5), parent, {})


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_broken_weights_are_refused(value):
    parent = toy_checkpoint((0,))
    parent.networks[0][2].weight.data[0, 0, 0, 0] = value
    with pytest.raises(PruneryError, match=r"2\.weight holds NaN or infinity"):
        prune(magnitude(0.5), parent, {})


def test_an_absent_measurement_is_named():
    with pytest.raises(PruneryError, match="needs calibrate=activations, which was not measured"):
        prune(Scripted(keep_all, ("calibrate=activations",)), toy_checkpoint(), {0: {"mp": {}}, 1: {}})


def test_each_replica_gets_its_own_measurements():
    seen = []

    class Reader(FirstRow):
        name = "reader"

        def masks(self, weights, measured, generator):
            seen.append((measured["m"]["k"]["x"], generator.initial_seed()))
            return super().masks(weights, measured, generator)

    prune(Reader(), toy_checkpoint((4, 9)), {4: {"m": {"k": {"x": 1}}}, 9: {"m": {"k": {"x": 2}}}})
    assert [value for value, _ in seen] == [1, 2]
    assert [seed for _, seed in seen] == [generator_of(4).initial_seed(), generator_of(9).initial_seed()]
    assert len({4, 9, *(seed for _, seed in seen)}) == 4


def test_shared_weights_stay_shared():
    network = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.Linear(4, 4))
    network[1].weight = network[0].weight
    parent = Checkpoint(toy_checkpoint().origin, {0: Replica(network)})
    pruned = prune(magnitude(0.5), parent, {})[0].network
    assert pruned[1].weight is pruned[0].weight
    assert int((pruned[1].weight == 0).sum()) == 8


def test_add_masks_is_idempotent():
    network = toy_checkpoint((0,), masked=True).networks[0]
    before = states(network)
    add_masks(network, mask_edit(["2.weight"]))
    assert same_states(states(network), before)
