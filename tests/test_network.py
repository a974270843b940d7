"""Checkpoints of every family: saved and loaded bit for bit, edits included; damaged ones refused in one line."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from prunery.checkpoint import Checkpoint, Origin, Replica, read_record, save
from prunery.data import Spec
from prunery.edits import integers_edit, mask_edit, replay
from prunery.errors import PruneryError
from prunery.files import sha256
from prunery.integer import Affine, IntegerPlan
from prunery.layers import integer_layers, layer_of, weights
from prunery.network import load_checkpoint
from prunery.registry import registry

DIGITS, CIFAR, TEXT = Spec("image", (1, 8, 8), 10), Spec("image", (3, 32, 32), 10), Spec("text", (12,), 5, 60)
BERT = {
    "model_type": "bert",
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
}
FAMILIES = [
    ("mlp", {"depth": 2, "width": 9}, DIGITS),
    ("cnn", {"channels": 3}, DIGITS),
    ("vit", {}, DIGITS),
    ("vit", {}, CIFAR),
    ("vgg", {}, CIFAR),
    ("lstm", {"layers": 2}, TEXT),
    ("lstm", {}, DIGITS),
    ("timm", {"name": "resnet18"}, CIFAR),
    ("timm", {"name": "vit_tiny_patch16_224"}, CIFAR),
    ("hf", {"config": BERT}, TEXT),
]
NAMES = [f"{name}-{settings.get('name', spec.shape)}" for name, settings, spec in FAMILIES]


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def inputs(spec):
    if spec.kind == "text":
        tokens = torch.randint(1, spec.vocabulary, (3, *spec.shape), generator=generator())
        tokens[0, 5:] = 0
        return tokens
    return torch.randn(3, *spec.shape, generator=generator())


def fresh(name, settings, spec, seeds=(0,)):
    architecture = registry().configured("model", name, settings)
    replicas = {}
    for seed in seeds:
        torch.manual_seed(seed)
        replicas[seed] = Replica(architecture.create(spec))
        replicas[seed].network.train()(inputs(spec))  # batch norms gather statistics
        replicas[seed].network.eval()
    return Checkpoint(Origin(*architecture.origin(), spec), replicas, {"stage": "train"})


def mask(replica, seed):
    """Masks on every other compressible weight."""
    edit = mask_edit(list(weights(replica.network))[::2])
    replay(replica.network, [edit])
    for key in edit["keys"]:
        layer, drawn = layer_of(replica.network, key), generator(seed)
        layer.get_buffer("weight/mask").copy_(torch.rand(layer.weight.shape, generator=drawn) < 0.6)
        layer.weight.data.mul_(layer.get_buffer("weight/mask"))
    replica.edits.append(edit)


def quantize(replica):
    """Integers in all compressible layers but the last."""
    chosen = dict(list(weights(replica.network).items())[:-1])
    edit = integers_edit(list(chosen))
    replay(replica.network, [edit])
    for key, layer in integer_layers(replica.network):
        scale = (chosen[key].flatten(1).abs().amax(1) / 127).clamp(min=1e-8)
        shown = (chosen[key] / scale.reshape(-1, *[1] * (chosen[key].dim() - 1))).round().to(torch.int8)
        layer.fill(IntegerPlan(shown, scale, Affine(0.05, 128), Affine(0.04, 120)))
    replica.edits.append(edit)


@pytest.mark.parametrize(("name", "settings", "spec"), FAMILIES, ids=NAMES)
def test_round_trip_bit_for_bit(tmp_path, name, settings, spec):
    written = fresh(name, settings, spec)
    for step, change in enumerate((lambda r: None, lambda r: mask(r, 0), quantize)):
        change(written.replicas[0])
        save(written, tmp_path / str(step))
        found = load_checkpoint(tmp_path / str(step))
        network, loaded = written.networks[0], found.networks[0]
        assert len(found.replicas[0].edits) == step
        assert list(loaded.state_dict()) == list(network.state_dict())
        for key, value in network.state_dict().items():
            assert loaded.state_dict()[key].dtype == value.dtype
            assert torch.equal(loaded.state_dict()[key], value), key
        with torch.no_grad():
            answer = network(inputs(spec))
            assert answer.isfinite().all()
            assert torch.equal(loaded(inputs(spec)), answer)


def test_loading_leaves_the_generator_alone(tmp_path):
    save(fresh("mlp", {}, DIGITS), tmp_path)
    torch.manual_seed(5)
    wanted = torch.rand(3)
    torch.manual_seed(5)
    load_checkpoint(tmp_path)
    assert torch.equal(torch.rand(3), wanted)


def test_the_plain_file_is_an_ordinary_state_dict(tmp_path):
    written = fresh("mlp", {"width": 4}, DIGITS)
    mask(written.replicas[0], 0)
    save(written, tmp_path)
    assert list(load_file(tmp_path / "0.safetensors")) == ["fc1.bias", "fc1.weight", "output.bias", "output.weight"]
    assert list(load_file(tmp_path / "0.companions.safetensors")) == ["fc1.weight/mask"]


def test_the_same_network_gives_the_same_bytes(tmp_path):
    for copy in ("a", "b"):
        save(fresh("mlp", {"width": 4}, DIGITS, (0, 1)), tmp_path / copy)
    names = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert names == ["0.safetensors", "1.safetensors", "model.json"]
    assert all((tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes() for name in names)


@pytest.fixture
def folder(tmp_path):
    save(fresh("mlp", {"width": 4}, DIGITS), tmp_path)
    return tmp_path


def rewrite(folder, change, tensors=None):
    """Alter the record (and the tensors, with a hash that fits them)."""
    record = read_record(folder)
    if tensors is not None:
        save_file(tensors, folder / "0.safetensors")
        record["replicas"]["0"]["files"]["0.safetensors"] = sha256(folder / "0.safetensors")
    change(record)
    (folder / "model.json").write_text(json.dumps(record))


def refused(folder, said):
    with pytest.raises(PruneryError, match=said) as caught:
        load_checkpoint(folder)
    assert "\n" not in str(caught.value)
    assert str(folder) in str(caught.value) or "edit" in said


def test_truncated_files_are_refused(folder):
    path = folder / "0.safetensors"
    path.write_bytes(path.read_bytes()[:-7])
    refused(folder, r"0\.safetensors is not what was written")


def test_truncated_files_with_a_fitting_hash_are_refused(folder):
    path = folder / "0.safetensors"
    path.write_bytes(path.read_bytes()[:-7])
    rewrite(folder, lambda record: record["replicas"]["0"]["files"].update({path.name: sha256(path)}))
    refused(folder, r"0\.safetensors is damaged")


def test_altered_files_are_refused(folder):
    path = folder / "0.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    refused(folder, "its hash differs")


def test_missing_files_are_refused(folder):
    (folder / "0.safetensors").unlink()
    refused(folder, r"0\.safetensors is missing")


@pytest.mark.parametrize("change", ["extra", "absent", "reshaped"])
def test_keys_must_match_strictly(folder, change):
    tensors = load_file(folder / "0.safetensors")
    if change == "extra":
        tensors["fc9.weight"] = torch.zeros(2)
    elif change == "absent":
        del tensors["fc1.weight"]
    else:
        tensors["fc1.weight"] = tensors["fc1.weight"][:, :3].contiguous()
    rewrite(folder, lambda record: None, tensors)
    refused(folder, "does not fit .*fc9.weight" if change == "extra" else "does not fit .*fc1.weight")


def test_a_forgotten_edit_is_noticed(tmp_path):
    written = fresh("mlp", {"width": 4}, DIGITS)
    mask(written.replicas[0], 0)
    written.replicas[0].edits.clear()
    save(written, tmp_path)
    refused(tmp_path, "does not fit .*fc1.weight/mask")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda record: record.update(format=2), "has format 2, this Prunery reads format 1: update Prunery"),
        (lambda record: record.pop("format"), "not a readable checkpoint"),
        (
            lambda record: record["replicas"]["0"]["edits"].append({"edit": "fold"}),
            "edit of kind 'fold'.*update it",
        ),
    ],
)
def test_records_of_other_versions_are_refused(folder, change, said):
    rewrite(folder, change)
    refused(folder, said)


def test_a_folder_without_a_record_holds_nothing(folder):
    (folder / "model.json").unlink()
    refused(folder, "not a readable checkpoint")
