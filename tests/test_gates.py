"""Gates and composition rules: what a job's network must be, and which steps may stand behind which."""

import copy

import pytest
import torch

from prunery import LayerPruner, Learner, Pruner, PruneryError, Quantizer
from prunery.checkpoint import Replica
from prunery.composition import check_order, check_rules
from prunery.edits import add_masks, mask_edit
from prunery.gates import bits, check, check_floor, emptied, frozen, layers, parameters, warnings
from prunery.method import Method
from prunery.quantize import quantize
from prunery.registry import registry
from prunery.toys import measured_by, toy_checkpoint


def method(**attributes):
    """A method of its own kind, with these attributes."""
    kind = type("Tried", (Method,), {"stage": "prune", "name": "tried", **attributes})
    return kind()


def changed(change):
    """A toy checkpoint, and copies of its replicas that `change` altered."""
    parent = toy_checkpoint((3,))
    network = copy.deepcopy(parent.networks[0])
    change(network)
    return parent, {3: Replica(network)}


def scale(network):
    with torch.no_grad():
        network[0].weight.mul_(2)


def freeze_one(network):
    add_masks(network, mask_edit(["0.weight"]))
    network[0].get_buffer("weight/mask")[0, 0, 0, 0] = False


def drop_a_layer(network):
    network[5] = torch.nn.Identity()


def narrow(network):
    network[7] = torch.nn.Linear(16, 4, bias=False)


def halve(network):
    network.half()


def nothing(network):
    pass


@pytest.mark.parametrize(
    ("promise", "kept", "broken"),
    [
        ("values", scale, nothing),
        ("zeros", freeze_one, scale),
        ("layers", drop_a_layer, narrow),
        ("parameters", narrow, freeze_one),
        ("bits", halve, scale),
    ],
)
def test_a_promised_change_must_happen(promise, kept, broken):
    check(method(changes=(promise,)), *changed(kept))
    with pytest.raises(PruneryError, match=r"prune method 'tried', seed 3: .*drop this step"):
        check(method(changes=(promise,)), *changed(broken))


def test_a_diverged_replica_may_be_what_it_was():
    check(method(changes=("values",)), *changed(nothing), diverged={3})
    with pytest.raises(PruneryError, match="seed 3: it changed nothing"):
        check(method(changes=("values",)), *changed(nothing), diverged={4})


def test_layers_that_lost_every_weight_are_told():
    def empty(network):
        add_masks(network, mask_edit(["0.weight", "5.weight"]))
        network[5].get_buffer("weight/mask").fill_(False)

    parent, replicas = changed(empty)
    assert emptied(parent.networks[0], replicas[3].network) == ["5.weight"]
    assert emptied(replicas[3].network, replicas[3].network) == []
    assert warnings(parent, dict.fromkeys(parent.seeds, replicas[3])) == [
        f"seed {', '.join(map(str, parent.seeds))} has no weight left in 5.weight"
    ]


def test_figures_by_hand():
    parent, replicas = changed(freeze_one)
    before, after = parent.networks[0], replicas[3].network
    total = 8 * 9 + 8 + 8 * 8 * 9 + 8 + 16 * 32 + 16 + 4 * 16 + 4
    assert (frozen(before), frozen(after)) == (0, 1)
    assert parameters(before) == parameters(after) == total
    assert (layers(before), layers(changed(drop_a_layer)[1][3].network)) == (4, 3)
    assert bits(before) == bits(after) == 32 * total


def test_integers_count_as_parameters_and_layers():
    dense, ptq = toy_checkpoint((0,)), registry().configured("quantize", "ptq", {})
    quantized = quantize(ptq, dense, measured_by(ptq, dense))[0].network
    assert parameters(quantized) == parameters(dense.networks[0])
    assert layers(quantized) == layers(dense.networks[0])
    assert bits(quantized) < bits(dense.networks[0]) / 3


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_network_that_is_not_finite_is_refused(value):
    def spoil(network):
        with torch.no_grad():
            network[5].bias[2] = value

    with pytest.raises(PruneryError, match=r"seed 3: it left NaN or infinity in 5\.bias: lower"):
        check(method(), *changed(spoil))


def test_promised_agreement_is_measured():
    def nudge(network):
        with torch.no_grad():
            network[7].bias.add_(0.01)

    check(method(agreement=0.5), *changed(nudge))
    check(method(agreement=0.0), *changed(nothing))
    with pytest.raises(PruneryError, match="promises its parent's outputs within 1e-06 of the largest logit"):
        check(method(agreement=1e-6), *changed(nudge))


def step(stage, name, **rules):
    return method(stage=stage, name=name, **rules)


def test_conflicts_count_in_one_direction():
    surgery = step("prune", "channels", conflicts=("quantize",))
    integers = step("quantize", "ptq")
    check_order([surgery, integers])
    with pytest.raises(PruneryError, match="prune=channels may not stand after quantize: put it before"):
        check_order([integers, surgery])


def test_a_rule_may_name_one_method():
    free = step("prune", "free", conflicts=("prune=nm",), follows=("prune=seb", "distill"))
    check_order([step("distill", "kd"), free])
    check_order([step("prune", "seb"), free])
    with pytest.raises(PruneryError, match="prune=free must stand after prune=seb or distill: add that step"):
        check_order([step("prune", "magnitude"), free])
    with pytest.raises(PruneryError, match="prune=free may not stand after prune=nm"):
        check_order([step("prune", "seb"), step("prune", "nm"), free])


def test_the_training_of_the_base_is_the_first_step():
    integers = step("quantize", "own", follows=("finetune=qat", "train=qat"))
    check_order([step("train", "qat"), step("prune", "nm"), integers])
    check_order([step("train", "supervised"), step("finetune", "qat"), integers])
    with pytest.raises(PruneryError, match=r"must stand after finetune=qat or train=qat: add .*, or train the base so"):
        check_order([step("train", "supervised"), step("prune", "nm"), integers])


def test_rules_that_name_no_step_are_refused():
    with pytest.raises(PruneryError, match="rule 'bench=latency' names no step: write one of train, prune"):
        check_rules(type(step("prune", "odd", follows=("bench=latency",))))


@pytest.mark.parametrize("kind", [Pruner, LayerPruner, Learner, Quantizer])
def test_every_transform_promises_a_change_and_stands_before_integers(kind):
    assert kind.changes
    assert kind.conflicts == ("quantize",)


def test_a_floor_is_for_the_mean_validation_accuracy():
    figures = {"replicas": {str(seed): {"validation": {"accuracy": a}} for seed, a in enumerate((0.8, 0.9))}}
    check_floor(figures, 0.85, "recipe net")
    with pytest.raises(
        PruneryError, match=r"recipe net: its mean validation accuracy 0\.8500 is below the floor 0\.86"
    ):
        check_floor(figures, 0.86, "recipe net")
