"""Schedules, refusals, and merged networks through the stages: the same bytes twice, and everything works behind it."""

import itertools

import pytest
import torch
from prunery_plugins.prune.tome.core import tokens_per_block

from prunery import gates
from prunery.calibrate import calibrate
from prunery.checkpoint import Checkpoint, Origin, Replica, save
from prunery.data import Spec
from prunery.distill import distill
from prunery.errors import PruneryError
from prunery.finetune import finetune
from prunery.merging import Merging
from prunery.network import load_checkpoint
from prunery.prune import prune
from prunery.quantize import quantize
from prunery.registry import registry
from prunery.sizes import sizes
from prunery.toys import same_states, states, toy_images

DATA = toy_images()  # 8 x 8 pixels: 16 patches and a class token


def method(stage, kind, /, **settings):
    return registry().configured(stage, kind, settings)


def fresh(model="vit", /, seeds=(0, 1), **settings):
    architecture = method("model", model, **settings)
    replicas = {}
    for seed in seeds:
        torch.manual_seed(seed)
        replicas[seed] = Replica(architecture.build(DATA.spec).eval())
    return Checkpoint(Origin(*architecture.origin(), DATA.spec), replicas)


def merged(parent, **settings):
    tome = method("prune", "tome", **{"r": 4, **settings})
    replicas = prune(tome, parent, {})
    gates.check(tome, parent, replicas)
    return parent.child(replicas, {})


def logits(checkpoint):
    inputs = DATA.spec.random(4, torch.Generator().manual_seed(1))
    with torch.no_grad():
        return [network(inputs) for network in checkpoint.networks]


def test_schedules():
    assert tokens_per_block(8, 4, "constant") == [8] * 4
    assert tokens_per_block(8, 5, "decreasing") == [16, 12, 8, 4, 0]
    assert tokens_per_block(5, 4, "decreasing") == [10, 6, 3, 0]
    assert tokens_per_block(3, 1, "decreasing") == [3]
    for r, blocks in itertools.product((1, 4, 7), (2, 12)):
        assert r * blocks - blocks < sum(tokens_per_block(r, blocks, "decreasing")) <= r * blocks


def test_it_merges_and_leaves_its_parent():
    parent = fresh()
    before, wanted = [states(network) for network in parent.networks], logits(parent)
    first, second = merged(parent), merged(parent)
    edit = {"edit": "merge_tokens", "blocks": {"blocks.0": 4, "blocks.1": 4}}
    edit |= {"prefix": 1, "proportional": True, "restore": False}
    assert [replica.edits for replica in first.replicas.values()] == [[edit]] * 2
    for made, again, dense in zip(logits(first), logits(second), wanted, strict=True):
        assert torch.equal(made, again)
        assert not torch.allclose(made, dense)
    assert all(same_states(states(network), old) for network, old in zip(parent.networks, before, strict=True))
    assert all(torch.equal(*pair) for pair in zip(logits(parent), wanted, strict=True))


def test_amount_and_schedule_reach_the_edit():
    tome = registry().configured("prune", "tome", {"schedule": "decreasing", "proportional": False}, amount=3)
    edit = prune(tome, fresh(blocks=3), {})[0].edits[0]
    assert (edit["blocks"], edit["proportional"]) == ({"blocks.0": 6, "blocks.1": 3, "blocks.2": 0}, False)


def test_refusals_are_one_line():
    with pytest.raises(
        PruneryError, match=r"'tome': 9 tokens cannot be merged in a block: of its 17 tokens at most 8 can"
    ):
        merged(fresh(), r=9)
    with pytest.raises(PruneryError, match="'tome': this network has no block in which tokens can be merged"):
        merged(fresh("cnn"))
    with pytest.raises(PruneryError, match="'tome': this network merges tokens already"):
        merged(merged(fresh()))
    with pytest.raises(PruneryError, match="put prune before quantize"):
        merged(quantized(fresh()))
    assert method("prune", "tome").conflicts == ("quantize", "prune=tome")


def quantized(parent):
    quantizer = method("quantize", "ptq")
    rows = calibrate(method("calibrate", "activations"), parent, DATA)
    return parent.child(quantize(quantizer, parent, {seed: {"activations": rows[seed]} for seed in parent.seeds}), {})


def test_calibration_sees_merged_tokens():
    parent = fresh(seeds=(0,))
    child = merged(parent)
    found = [calibrate(method("calibrate", "activations", samples=8), each, DATA)[0] for each in (parent, child)]
    first, last = "blocks.0.attention.query.0.weight", "blocks.1.mlp.fc1.weight"
    assert torch.equal(*(rows[first]["input_second_moment"] for rows in found))
    assert not torch.allclose(*(rows[last]["input_second_moment"] for rows in found))
    network, counts = child.networks[0], []
    network.blocks[1].mlp.fc1.register_forward_hook(lambda layer, given, out: counts.append(given[0].shape[1]))
    logits(child)
    assert counts == [9]


def test_masks_training_distillation_and_integers_behind_it(tmp_path):
    dense = fresh()
    network = merged(dense)
    macs = sizes(network.networks[0], DATA.spec)["macs"]
    assert macs < 0.85 * sizes(dense.networks[0], DATA.spec)["macs"]
    pruner = method("prune", "nm")
    network = network.child(prune(pruner, network, {}), {})
    few = {"epochs": 1, "batch_size": 32}
    network = network.child(finetune(method("finetune", "supervised", **few), network, DATA, lambda line: None)[0], {})
    taught, _ = distill(method("distill", "kd", **few), network, dense, DATA, lambda line: None)
    network = network.child(taught, {})
    for each in network.networks:
        assert isinstance(each.blocks[0], Merging)
        masks = {key: mask for key, mask in each.named_buffers() if key.endswith("/mask")}
        assert masks
        assert not any(each.get_parameter(key.removesuffix("/mask"))[~mask].any() for key, mask in masks.items())
    assert sizes(network.networks[0], DATA.spec)["macs"] == macs
    network = quantized(network)
    assert sizes(network.networks[0], DATA.spec)["macs"] == macs
    save(network, tmp_path)
    assert all(torch.equal(*pair) for pair in zip(logits(network), logits(load_checkpoint(tmp_path)), strict=True))


def test_hidden_units_go_behind_it_and_heads_before_it():
    options = {"patch_size": 2, "embed_dim": 24, "depth": 2, "num_heads": 3}
    parent = fresh("timm", seeds=(0,), name="vit_tiny_patch16_224", options=options)
    pruner = method("prune", "channels", share=0.4, scope="layer")

    def cut(checkpoint):
        return checkpoint.child(prune(pruner, checkpoint, {}), {})

    before, behind = merged(cut(parent)), cut(merged(parent))
    for child in (before, behind):
        assert all(found.isfinite().all() for found in logits(child))
    assert before.networks[0].blocks[0].attn.num_heads < 3
    assert behind.networks[0].blocks[0].attn.num_heads == 3
    assert behind.networks[0].blocks[0].mlp.fc1.out_features < 96


def test_photos_of_any_spec_are_refused_only_for_their_tokens():
    spec = Spec("image", (1, 4, 4), 4)  # 4 patches
    architecture = method("model", "vit")
    parent = Checkpoint(Origin(*architecture.origin(), spec), {0: Replica(architecture.build(spec).eval())})
    assert prune(method("prune", "tome", r=2), parent, {})[0].edits[0]["blocks"] == {"blocks.0": 2, "blocks.1": 1}
    with pytest.raises(PruneryError, match="3 tokens cannot be merged in a block: of its 5 tokens at most 2 can"):
        prune(method("prune", "tome", r=3), parent, {})
