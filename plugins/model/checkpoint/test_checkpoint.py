"""Local checkpoints as starting points: own folders and foreign files."""

import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from prunery.checkpoint import Checkpoint, Origin, Replica, save
from prunery.data import Spec
from prunery.edits import add_masks, mask_edit
from prunery.errors import PruneryError
from prunery.registry import registry

SPEC = Spec("image", (1, 4, 4), 3)


def model(**settings):
    return registry().configured("model", "checkpoint", settings)


def mlp():
    return registry().configured("model", "mlp", {"width": 5})


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "net"
    replicas = {seed: Replica(mlp().build(SPEC)) for seed in (3, 4)}
    save(Checkpoint(Origin(*mlp().origin(), SPEC), replicas), path)
    return path, replicas


def test_a_folder_fills_the_model_it_names(folder):
    path, replicas = folder
    inputs = torch.randn(2, *SPEC.shape)
    for seed, chosen in ((None, 3), (3, 3), (4, 4)):
        network = model(path=str(path), seed=seed).create(SPEC)
        assert torch.equal(network(inputs), replicas[chosen].network(inputs))


def test_origin_forgets_the_path(folder):
    path, replicas = folder
    origin = model(path=str(path)).origin()
    assert origin == mlp().origin()
    shutil.rmtree(path)
    rebuilt = registry().configured("model", *origin).build(SPEC)
    rebuilt.load_state_dict(replicas[3].network.state_dict(), strict=True)


def test_files_are_all_that_is_read(folder):
    assert [path.name for path in model(path=str(folder[0])).files()] == [
        "model.json",
        "3.safetensors",
        "4.safetensors",
    ]


@pytest.mark.parametrize("suffix", ["safetensors", "pt", "pth"])
def test_a_file_fills_the_model_that_is_named(tmp_path, suffix):
    path, donor = tmp_path / f"weights.{suffix}", mlp().build(SPEC)
    if suffix == "safetensors":
        save_file(donor.state_dict(), path)
    else:
        torch.save({"state_dict": {f"module.{k}": v for k, v in donor.state_dict().items()}, "epoch": 3}, path)
    network = model(path=str(path), model="mlp", settings={"width": 5}).create(SPEC)
    assert all(torch.equal(value, donor.state_dict()[key]) for key, value in network.state_dict().items())


def test_fresh_keys_keep_their_own_values(folder):
    other = Spec("image", (1, 4, 4), 7)
    with pytest.raises(PruneryError, match=r"'output.weight' is \[3, 5\] in the file, \[7, 5\] in the network"):
        model(path=str(folder[0])).create(other)
    network = model(path=str(folder[0]), fresh=["output.*"]).create(other)
    assert network.output.weight.shape == (7, 5)
    assert torch.equal(network.fc1.weight, folder[1][3].network.fc1.weight)


class _Code:
    """An object whose pickle creates a file when it is loaded."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return Path.touch, (self.marker,)


def test_a_pickle_with_code_is_refused_and_not_run(tmp_path):
    marker, path = tmp_path / "ran", tmp_path / "evil.pt"
    torch.save({"fc1.weight": torch.zeros(2), "extra": _Code(marker)}, path)
    with pytest.raises(
        PruneryError, match=r"evil\.pt .*run code and are refused: save its state dict as safetensors"
    ) as caught:
        model(path=str(path), model="mlp").create(SPEC)
    assert "\n" not in str(caught.value)
    assert not marker.exists()
    torch.load(path, weights_only=False)  # the trap does work
    assert marker.exists()


def test_compressed_folders_are_refused(folder):
    path, replicas = folder
    edit = mask_edit(["fc1.weight"])
    for replica in replicas.values():
        add_masks(replica.network, edit)
        replica.edits.append(edit)
    save(Checkpoint(Origin(*mlp().origin(), SPEC), replicas), path)
    with pytest.raises(PruneryError, match=r"compressed already \(mask\)"):
        model(path=str(path)).create(SPEC)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"seed": 9}, r"holds the seeds \[3, 4\], not 9"),
        ({"model": "mlp"}, "remove model and settings"),
        ({"fresh": ["head.*"]}, "'head.*' matches no key"),
        ({"path": "absent.pt"}, "say under model"),
        ({"path": "absent.pt", "model": "mpl"}, "unknown model method 'mpl': did you mean 'mlp'"),
        ({"path": "absent.pt", "model": "mlp"}, "absent.pt: there is no such file"),
        ({"model": "checkpoint"}, "not 'checkpoint' again"),
    ],
)
def test_mistakes_are_named(folder, settings, said):
    with pytest.raises(PruneryError, match=said):
        model(**{"path": str(folder[0]), **settings}).create(SPEC)


def test_files_that_are_no_state_dict_are_refused(tmp_path):
    torch.save([1, 2], tmp_path / "list.pt")
    (tmp_path / "cut.safetensors").write_bytes(b"\x08\0\0\0")
    (tmp_path / "text.pt").write_text("not weights")
    for name, said in (
        ("list.pt", "holds no state dict"),
        ("cut.safetensors", "not a readable"),
        ("text.pt", "text.pt"),
    ):
        with pytest.raises(PruneryError, match=said):
            model(path=str(tmp_path / name), model="mlp").create(SPEC)
