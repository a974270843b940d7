"""Token merging as an edit: what networks compute with it, and that everything else goes on working behind it."""

from __future__ import annotations

import copy
import subprocess
import sys

import pytest
import torch
from torch import nn

from prunery.calibrate import calibrate
from prunery.checkpoint import Checkpoint, Origin, Replica, save
from prunery.data import Spec
from prunery.distill import distill
from prunery.edits import replay
from prunery.encoders import encoder_blocks, opened_class, opening, prefix_tokens
from prunery.errors import PruneryError
from prunery.merging import Flow, Merging, merge_edit
from prunery.network import build, load_checkpoint
from prunery.prune import prune
from prunery.registry import registry
from prunery.sizes import sizes
from prunery.toys import toy_images

PHOTOS, DIGITS = Spec("image", (3, 32, 32), 4), Spec("image", (1, 28, 28), 10)
SMALL = {"patch_size": 8, "embed_dim": 24, "depth": 3, "num_heads": 3}  # 16 patches
TIMM = {
    "plain": ("vit_tiny_patch16_224", {}),
    "dressed": ("vit_tiny_patch16_224", {"qk_norm": True, "init_values": 0.5, "drop_path_rate": 0.1}),
    "mean": ("vit_tiny_patch16_224", {"class_token": False, "global_pool": "avg"}),
    "registers": ("vit_tiny_patch16_224", {"reg_tokens": 2}),
    "distilled": ("deit_tiny_distilled_patch16_224", {}),
}  # fmt: skip


def timm(kind):
    name, options = TIMM[kind]
    return fresh("timm", PHOTOS, name=name, options={**SMALL, **options})


def vit(seed=0, **settings):
    return fresh("vit", DIGITS, seed, **settings)


def fresh(model, spec, seed=0, **settings):
    torch.manual_seed(seed)
    return registry().configured("model", model, settings).build(spec).eval()


def hugging(kind):
    import transformers

    model, config = {
        "vit": (transformers.ViTForImageClassification, transformers.ViTConfig),
        "deit": (transformers.DeiTForImageClassificationWithTeacher, transformers.DeiTConfig),
    }[kind]
    body = {"hidden_size": 24, "num_hidden_layers": 3, "num_attention_heads": 3, "intermediate_size": 48}
    torch.manual_seed(0)
    network = model(config(image_size=32, patch_size=8, num_labels=4, **body)).eval()
    network.__class__ = type("Plain", (model,), {"forward": lambda self, x: model.forward(self, pixel_values=x).logits})
    return network


NETWORKS = {**{kind: (lambda kind=kind: timm(kind)) for kind in TIMM}, "own": vit}
NETWORKS |= {f"transformers {kind}": (lambda kind=kind: hugging(kind)) for kind in ("vit", "deit")}


def inputs(network_name, count=2, seed=0):
    return (DIGITS if network_name == "own" else PHOTOS).random(count, torch.Generator().manual_seed(seed))


def merged(network, example, wanted=4, **options):
    return replay(copy.deepcopy(network), [merge_edit(network, example, wanted, **options)])


@pytest.fixture(params=NETWORKS)
def case(request):
    return NETWORKS[request.param](), inputs(request.param)


class Opened(nn.Module):
    """Nothing goes before the block."""


@torch.no_grad()
def test_an_opened_block_computes_what_it_did(case):
    network, example = case
    names = encoder_blocks(network)
    heard = {}
    block = network.get_submodule(names[1])
    hook = block.register_forward_hook(lambda layer, given, out: heard.update(given=given[0], out=out))
    network(example)
    hook.remove()
    block.__class__ = opened_class(type(block), opening(block), Opened)
    torch.testing.assert_close(block.transform(block.attend(heard["given"])[0]), heard["out"])


@torch.no_grad()
def test_it_merges_in_every_block_and_answers(case):
    network, example = case
    child, counts = merged(network, example), []
    for name in encoder_blocks(child):
        layer = child.get_submodule(name)
        layer.register_forward_hook(lambda layer, given, out: counts.append((given[0].shape[1], layer.share.count)))
    found = child(example)
    start = counts[0][0]
    assert [count for count, _ in counts] == [start - 4 * block for block in range(len(counts))]
    assert {merges for _, merges in counts} == {4}
    assert found.isfinite().all()
    assert not torch.allclose(found, network(example))
    assert list(child.state_dict()) == list(network.state_dict())
    assert child.get_submodule(name).share.flow == Flow()


def test_how_many_tokens_come_first():
    wanted = {"plain": 1, "dressed": 1, "mean": 0, "registers": 3, "distilled": 2}
    assert {kind: prefix_tokens(timm(kind)) for kind in TIMM} == wanted
    assert [prefix_tokens(hugging("vit")), prefix_tokens(hugging("deit")), prefix_tokens(vit())] == [1, 2, 1]


def test_tokens_are_put_back_only_where_they_are_read():
    found = {name: merge_edit(make(), inputs(name), 4)["restore"] for name, make in NETWORKS.items()}
    assert [name for name, restores in found.items() if restores] == ["mean"]


class Twins(nn.Module):
    """Two blocks of the small transformer behind a map that doubles every other token; the mean of all is read."""

    prefix_tokens = 0

    def __init__(self):
        super().__init__()
        self.blocks, self.head = vit(dim=8).blocks, nn.Linear(8, 3)

    def forward(self, images):
        tokens = images.flatten(1).unflatten(1, (-1, 8))[:, :12]
        tokens = torch.stack([tokens, torch.where(torch.arange(12).unsqueeze(1) < 5, tokens, -tokens)], 2).flatten(1, 2)
        for block in self.blocks:
            tokens = block(tokens)
        return self.head(tokens.mean(1))


@torch.no_grad()
def test_equal_tokens_merge_without_a_trace():
    network, example = Twins().eval(), inputs("own")
    wanted = network(example)
    torch.testing.assert_close(merged(network, example, [5, 0])(example), wanted)
    apart = merged(network, example, [5, 0], proportional=False)(example) - wanted
    assert float(apart.abs().max()) > 1e-3


def test_multiply_accumulates_follow():
    network, example = timm("plain"), inputs("plain")
    found, dense = (sizes(each, PHOTOS)["macs"] for each in (merged(network, example), network))
    width = SMALL["embed_dim"]
    tokens = [17, 13, 9]
    wanted = sum(width**2 * (4 * count + 8 * (count - 4)) for count in tokens)
    assert dense - found == 3 * 17 * 12 * width**2 - wanted


def test_later_blocks_merge_what_is_left():
    edit = merge_edit(vit(blocks=4, grid=3), inputs("own"), 4)  # 10 tokens, of which 9 are patches
    assert list(edit["blocks"].values()) == [4, 2, 1, 1]


def test_replicas_run_stacked():
    from prunery.stacked import Stacked

    networks = [merged(vit(seed), inputs("own"), 8) for seed in range(3)]
    example = torch.stack([inputs("own", 4, seed) for seed in range(3)])
    together = Stacked(networks, torch.device("cpu")).forward(example)
    alone = torch.stack([network(own) for network, own in zip(networks, example, strict=True)])
    torch.testing.assert_close(together, alone)


def test_replicas_that_merge_otherwise_are_not_alike():
    from prunery.stacked import alike

    network, example = vit(), inputs("own")
    assert alike([merged(network, example, 8), merged(network, example, 8)])
    assert not alike([merged(network, example, 8), merged(network, example, 7)])
    assert not alike([merged(network, example, 8), network])


@pytest.mark.parametrize("name", ["own", "plain", "mean", "distilled"])
def test_runtimes_compute_the_same(name, tmp_path):
    network = merged(NETWORKS[name](), inputs(name))
    other = inputs(name, seed=1)
    with torch.no_grad():
        wanted = network(other)
    for backend in ("onnxruntime", "openvino"):
        run = registry().configured("backend", backend, {}).prepare(network, inputs(name), tmp_path, 1)
        torch.testing.assert_close(run(other), wanted, rtol=1e-4, atol=1e-5)


# --- what it refuses -------------------------------------------------------------------------------------------------


def test_more_tokens_than_there_are():
    with pytest.raises(PruneryError, match="9 tokens cannot be merged in a block: of its 17 tokens at most 8 can"):
        merge_edit(timm("plain"), inputs("plain"), 9)


@pytest.mark.parametrize(("options", "model"), [({}, "mlp"), ({"name": "test_resnet"}, "timm")])
def test_networks_without_such_blocks(options, model):
    network = fresh(model, PHOTOS, **options)
    with pytest.raises(PruneryError, match="no block in which tokens can be merged"):
        merge_edit(network, inputs("plain"), 1)


def test_merging_twice():
    network, example = vit(), inputs("own")
    with pytest.raises(PruneryError, match="merges tokens already"):
        merge_edit(merged(network, example), example, 1)


def test_blocks_that_run_out_of_order():
    network = vit(blocks=3)
    network.blocks = nn.ModuleList([network.blocks[0], network.blocks[2], network.blocks[0]])
    with pytest.raises(PruneryError, match="do not run once each"):
        merge_edit(network, inputs("own"), 1)


def test_masks_of_attention():
    network = merged(timm("plain"), inputs("plain"))
    with pytest.raises(NotImplementedError, match="without masks"):
        network.forward_features(inputs("plain"), attn_mask=torch.ones(17, 17, dtype=torch.bool))


def test_an_edit_that_fits_no_block():
    edit = merge_edit(vit(), inputs("own"), 4)
    with pytest.raises(TypeError, match="no block in which"):
        replay(vit(), [{**edit, "blocks": {"blocks.0.mlp": 4}}])


# --- through files ---------------------------------------------------------------------------------------------------

LOGITS = """
import sys, torch
from pathlib import Path
from prunery.network import load_checkpoint
checkpoint = load_checkpoint(Path(sys.argv[1]))
inputs = checkpoint.origin.spec.random(4, torch.Generator().manual_seed(3))
with torch.no_grad():
    print(checkpoint.networks[0](inputs).numpy().tobytes().hex())
"""


def test_a_merged_permuted_masked_distilled_network_reads_back_bit_for_bit_in_a_new_process(tmp_path):
    data, method = toy_images(), registry().configured
    torch.manual_seed(0)
    origin = Origin("vit", {}, data.spec)
    dense = Checkpoint(origin, {0: Replica(build(origin).eval())})
    network = dense.child(prune(method("prune", "tome", {"r": 4}), dense, {}), {})
    found = calibrate(method("calibrate", "moments", {}), network, data)
    caster = method("prune", "cast", {"permute": "quartile"})
    network = network.child(prune(caster, network, {0: {"moments": found[0]}}, dense), {})
    teaching = method("distill", "kd", {"epochs": 1, "batch_size": 32})
    network = network.child(distill(teaching, network, dense, data, lambda line: None)[0], {})
    assert {edit["edit"] for edit in network.replicas[0].edits} == {"merge_tokens", "permute", "mask"}
    save(network, tmp_path)
    assert isinstance(load_checkpoint(tmp_path).networks[0].blocks[1], Merging)
    with torch.no_grad():
        wanted = network.networks[0](data.spec.random(4, torch.Generator().manual_seed(3)))
    command = [sys.executable, "-c", LOGITS, str(tmp_path)]
    answer = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert answer.split()[-1] == wanted.numpy().tobytes().hex()
