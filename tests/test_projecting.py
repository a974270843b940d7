"""Pruners that choose values and pruners that add edits: what the stage does with their answers, what it refuses."""

import pytest
import torch

from prunery import gates
from prunery.contract import Projection, Projector, Rewirer
from prunery.edits import mask_edit
from prunery.errors import PruneryError
from prunery.layers import weights
from prunery.measured import load_measured
from prunery.needs import Need, parse_need
from prunery.prune import prune
from prunery.toys import same_states, states, toy_checkpoint

KEY = "5.weight"


class Scripted(Projector):
    """Answers with whatever the test wants."""

    name = "scripted"

    def __init__(self, answer, restores=False):
        super().__init__()
        self.answer, self.wants = answer, restores

    @property
    def restores(self):
        return self.wants

    def project(self, weights, dense, measured, generator):
        return self.answer(weights, dense)


class Masking(Rewirer):
    """Adds masks that mask nothing."""

    name = "masking"

    def __init__(self, keys):
        super().__init__()
        self.keys = keys

    def edits(self, network, example, measured, generator):
        assert example.shape[1:] == (1, 8, 8)
        return [mask_edit(self.keys)] if self.keys else []


def test_values_and_masks_are_filled_in_and_weights_may_revive():
    parent, dense = toy_checkpoint((0,), masked=True), toy_checkpoint((0,))

    def restored(weights, dense):
        kept = torch.ones_like(dense[KEY], dtype=torch.bool)
        kept[:, 1::2] = False
        return {KEY: Projection(2 * dense[KEY], kept)}

    replica = prune(Scripted(restored, restores=True), parent, {}, dense)[0]
    found, original = weights(replica.network), weights(dense.networks[0])
    assert torch.equal(found[KEY][:, ::2], 2 * original[KEY][:, ::2])  # the third weights, masked before, are back
    assert not found[KEY][:, 1::2].any()
    assert float(replica.network.get_buffer("5.weight/mask").float().mean()) == 0.5
    assert torch.equal(found["2.weight"], weights(parent.networks[0])["2.weight"])
    assert replica.edits == parent.replicas[0].edits  # the masks were there


def test_without_a_mask_frozen_weights_stay_zero():
    parent = toy_checkpoint((0,), masked=True)
    replica = prune(Scripted(lambda weights, dense: {KEY: Projection(weights[KEY] + 1)}), parent, {})[0]
    mask = replica.network.get_buffer("5.weight/mask")
    assert torch.equal(mask, parent.networks[0].get_buffer("5.weight/mask"))
    weight = weights(replica.network)[KEY]
    assert not weight[~mask].any()
    assert torch.equal(weight[mask], weights(parent.networks[0])[KEY][mask] + 1)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda weights, dense: {"nine.weight": Projection(weights[KEY])}, "'nine.weight', which is no compressible"),
        (lambda weights, dense: {KEY: Projection(weights[KEY][:1])}, "not finite numbers of shape"),
        (lambda weights, dense: {KEY: Projection(weights[KEY] / 0)}, "not finite numbers of shape"),
        (
            lambda weights, dense: {KEY: Projection(weights[KEY], torch.ones(3))},
            "its mask for 5.weight is torch.float32",
        ),
        (
            lambda weights, dense: {KEY: Projection(weights[KEY], None, torch.zeros(32, dtype=torch.long))},
            "its order of the inputs of 5.weight",
        ),
        (lambda weights, dense: {KEY: Projection(weights[KEY].zero_())}, "it changed the weight 5.weight"),
    ],
)
def test_answers_that_do_not_fit_are_refused(answer, words):
    with pytest.raises(PruneryError, match=f"prune method 'scripted', seed 0: .*{words}"):
        prune(Scripted(answer), toy_checkpoint((0,)), {})


def test_dense_weights_must_be_there_and_of_the_same_shape():
    method = Scripted(lambda weights, dense: {}, restores=True)
    with pytest.raises(PruneryError, match="was not given"):
        prune(method, toy_checkpoint((0,)), {})
    other = toy_checkpoint((0,))
    other.networks[0][5] = torch.nn.Linear(32, 8)
    with pytest.raises(PruneryError, match=r"5.weight has another shape than in the dense network"):
        prune(method, toy_checkpoint((0,)), {}, other)


def test_edits_are_replayed_and_a_silent_one_is_refused():
    parent = toy_checkpoint((0, 1))
    replicas = prune(Masking([KEY]), parent, {})
    gates.check(Masking([KEY]), parent, replicas)
    assert replicas[1].edits == [mask_edit([KEY])]
    assert "5.weight/mask" in dict(replicas[1].network.named_buffers())
    assert "5.weight/mask" not in dict(parent.networks[1].named_buffers())
    assert same_states(states(toy_checkpoint((1,)).networks[0]), states(parent.networks[1]))
    with pytest.raises(PruneryError, match="it changed nothing"):
        gates.check(Masking([]), parent, prune(Masking([]), parent, {}))


def test_needs_are_spelled_in_two_ways():
    assert parse_need("calibrate=activations") == Need("calibrate", "activations")
    assert parse_need("history:evaluate=standard") == Need("evaluate", "standard", history=True)
    for wrong in ("calibrate", "evaluate=standard", "history:calibrate=activations", "bench=latency", ""):
        with pytest.raises(PruneryError, match="which is no measurement"):
            parse_need(wrong)


def test_evaluations_are_told_apart_by_folder_in_order(tmp_path):
    paths = []
    for folder, accuracy in (("net", 0.9), ("net/prune=a@0.5", 0.7)):
        path = tmp_path / folder / "evaluate=standard.json"
        path.parent.mkdir(parents=True)
        path.write_text(f'{{"replicas": {{"3": {{"validation": {{"accuracy": {accuracy}}}}}}}}}')
        paths.append(path)
    found = load_measured(paths)[3]["standard"]
    assert list(found) == [str(path.parent) for path in paths]
    assert [row["validation"]["accuracy"] for row in found.values()] == [0.9, 0.7]
