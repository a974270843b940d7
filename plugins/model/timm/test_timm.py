"""timm networks: sized for the data, rebuilt from their record, filled from local files."""

import pytest
import torch
from safetensors.torch import save_file

from prunery.data import Spec
from prunery.errors import PruneryError
from prunery.registry import registry
from prunery.sizes import sizes

SMALL = Spec("image", (1, 32, 32), 7)


def model(**settings):
    return registry().configured("model", "timm", settings)


def test_resnet18_has_the_known_counts():
    spec = Spec("image", (3, 224, 224), 1000)
    figures = sizes(model(name="resnet18").build(spec), spec)
    assert figures["parameters"] == 11_689_512
    assert figures["macs"] == 1_814_073_344


def test_vit_tiny_has_the_known_counts_and_takes_other_image_sizes():
    spec = Spec("image", (3, 224, 224), 1000)
    figures = sizes(model(name="vit_tiny_patch16_224").build(spec), spec)
    assert figures["parameters"] == 5_717_416
    linear = 12 * 197 * (192 * 576 + 192 * 192 + 2 * 192 * 768)
    assert figures["macs"] == 196 * 192 * 768 + linear + 192_000
    small = model(name="vit_tiny_patch16_224").create(SMALL)
    assert small(torch.zeros(2, 1, 32, 32)).shape == (2, 7)


def test_the_record_rebuilds_without_hub_or_file(tmp_path):
    donor = model(name="resnet10t").create(SMALL)
    save_file(donor.state_dict(), tmp_path / "w.safetensors")
    filled = model(name="resnet10t", weights=str(tmp_path / "w.safetensors"))
    assert filled.files() == [tmp_path / "w.safetensors"]
    name, settings = filled.origin()
    assert settings == {"name": "resnet10t", "options": {}}
    rebuilt, network = registry().configured("model", name, settings).build(SMALL), filled.create(SMALL)
    assert all(torch.equal(value, donor.state_dict()[key]) for key, value in network.state_dict().items())
    assert list(rebuilt.state_dict()) == list(network.state_dict())


def test_a_classifier_for_other_classes_stays_fresh(tmp_path):
    donor = model(name="resnet10t").create(SMALL)
    torch.save({"state_dict": donor.state_dict()}, tmp_path / "w.pt")
    network = model(name="resnet10t", weights=str(tmp_path / "w.pt")).create(Spec("image", (1, 32, 32), 3))
    assert network.fc.weight.shape[0] == 3
    assert torch.equal(network.conv1[0].weight, donor.conv1[0].weight)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"name": "resnet81"}, "unknown timm model 'resnet81': did you mean"),
        ({"name": "resnet18", "options": {"depht": 3}}, "depht.*check options"),
        ({"name": "resnet18", "weights": "absent.pt"}, "absent.pt: there is no such file"),
        ({"name": "resnet18", "weights": "absent.pt", "pretrained": True}, "not both"),
    ],
)
def test_mistakes_are_named(settings, said):
    with pytest.raises(PruneryError, match=said):
        model(**settings).create(SMALL)


def test_a_missing_file_is_named_before_any_job():
    with pytest.raises(PruneryError, match=r"there is no file absent\.pt"):
        model(weights="absent.pt").files()


def test_images_too_small_for_the_network_are_one_line():
    with pytest.raises(PruneryError, match="vit_tiny_patch16_224"):
        model(name="vit_tiny_patch16_224").create(Spec("image", (1, 8, 8), 10))
