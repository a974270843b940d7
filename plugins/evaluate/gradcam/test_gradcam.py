"""Maps against a closed form and against plain gradients, through rounding, and the agreement by hand."""

import base64
import io
from contextlib import nullcontext

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from prunery_plugins.evaluate.gradcam import core
from prunery_plugins.evaluate.gradcam.agreement import overlaps, rank_correlations
from prunery_plugins.evaluate.gradcam.core import StraightThrough, activation_maps, as_maps, layer_name
from prunery_plugins.evaluate.gradcam.pictures import LARGEST, coloured, overlaid
from torch import nn

from prunery.checkpoint import Checkpoint, Origin, Replica, save
from prunery.data import Dataset, Spec, Split
from prunery.errors import PruneryError
from prunery.evaluate import evaluate
from prunery.network import load_checkpoint
from prunery.quantize import quantize
from prunery.registry import registry
from prunery.toys import measured_by, toy_checkpoint, toy_images


def method(**settings):
    return registry().configured("evaluate", "gradcam", settings)


def network(inplace=True):
    """Two convolutions with batch norm, the second one strided, and a linear classifier."""
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(inplace),
        nn.Conv2d(4, 6, 3, stride=2, padding=1), nn.BatchNorm2d(6), nn.ReLU(inplace),
        nn.Flatten(), nn.Linear(6 * 16, 3),
    )  # fmt: skip
    for norm in (net[1], net[4]):
        norm.running_mean.uniform_(-0.3, 0.3)
        norm.running_var.uniform_(0.5, 1.5)
    return net.eval()


def test_a_linear_head_has_maps_in_closed_form():
    """Behind global average pooling the gradient of a logit is its weight over the number of positions."""
    torch.manual_seed(1)
    net = nn.Sequential(nn.Conv2d(2, 5, 3, padding=1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(5, 3)).eval()
    images, classes = torch.randn(4, 2, 6, 6), torch.tensor([0, 2, 1, 1])
    found = activation_maps(net, "0", images, classes)
    weights = net[3].weight[classes] / 36
    assert torch.allclose(found, F.relu(torch.einsum("bk,bkhw->bhw", weights, net[0](images))), atol=1e-6)


def test_maps_equal_those_of_plain_gradients_also_where_activations_work_in_place():
    images, classes = torch.randn(3, 1, 8, 8), torch.tensor([0, 1, 2])
    net = network(inplace=False)
    features = net[:5](images).detach().requires_grad_()
    logits = net[5:](features)
    logits[range(3), classes].sum().backward()
    wanted = F.relu((features.grad.mean((2, 3), keepdim=True) * features).sum(1, keepdim=True))
    wanted = F.interpolate(wanted, size=(8, 8), mode="bilinear", align_corners=False)[:, 0]
    in_place = network()
    found = activation_maps(in_place, "4", images, classes)
    assert torch.allclose(found, wanted.detach(), atol=1e-6)
    assert all(parameter.requires_grad and parameter.grad is None for parameter in in_place.parameters())
    assert not in_place[4]._forward_hooks


def test_the_layer_is_the_last_convolution_behind_its_norm_or_the_one_asked_for():
    net, image = network(), torch.zeros(1, 1, 8, 8)
    assert layer_name(net, image, None) == "4"
    assert layer_name(net, image, "0") == "0"
    assert layer_name(net, image, "[0-2]") == "2"
    assert layer_name(nn.Sequential(nn.Flatten(), nn.Linear(64, 3)), image, None) is None
    with pytest.raises(PruneryError, match=r"layer: unknown module 'featurs': known are 0, 1, 2"):
        layer_name(net, image, "featurs")


def test_tokens_are_a_grid_behind_the_class_tokens():
    tokens = torch.arange(2 * 10 * 4.0).reshape(2, 10, 4)
    assert torch.equal(as_maps(tokens, "x")[1, 2], tokens[1, 1:, 2].reshape(3, 3))
    with pytest.raises(PruneryError, match=r"the output of x has the shape \[2, 10\], no map"):
        as_maps(tokens[..., 0], "x")


def test_rounding_keeps_its_values_and_passes_gradients():
    values = torch.tensor([-0.6, 1.4, 2.5, 300.0], requires_grad=True)
    with StraightThrough():
        rounded = torch.clamp(torch.round(values), 0, 255)
        again = values.round()
    assert rounded.tolist() == [0, 1, 2, 255]
    assert again.tolist() == [-1, 1, 2, 300]
    (gradient,) = torch.autograd.grad(rounded.sum(), values)
    assert gradient.tolist() == [0, 1, 1, 0]  # beyond the ends of the grid nothing passes


def test_maps_of_integers_are_near_those_of_the_float_network(monkeypatch):
    """Maps of a network that has learned nothing still correlate; without the route past rounding all are blank."""
    parent = toy_checkpoint((0,))
    quantizer = registry().configured("quantize", "ptq", {})
    integers = quantize(quantizer, parent, measured_by(quantizer, parent))[0].network.eval()
    dense = parent.networks[0].eval()
    images = toy_images().network_inputs(toy_images().test.inputs[:16])
    name = layer_name(dense, images[:1], None)
    assert name is not None
    classes = dense(images).argmax(1)
    pair = [activation_maps(each, name, images, classes).flatten(1).double().numpy() for each in (integers, dense)]
    told = (np.ptp(pair[0], axis=1) > 0) & (np.ptp(pair[1], axis=1) > 0)
    assert told.mean() > 0.5
    assert np.median(rank_correlations(pair[0][told], pair[1][told])) > 0.8
    monkeypatch.setattr(core, "StraightThrough", nullcontext)
    assert not activation_maps(integers, name, images, classes).any()


def test_agreement_by_hand():
    a = np.array([[1.0, 2, 3, 4, 5], [1, 2, 3, 4, 5]])
    b = np.array([[2.0, 4, 6, 8, 10], [5, 4, 3, 2, 1]])
    assert rank_correlations(a, b).tolist() == pytest.approx([1, -1])
    assert overlaps(a, b, 0.2).tolist() == [1, 0]
    assert overlaps(a, b, 0.6).tolist() == pytest.approx([1, 1 / 3])
    assert rank_correlations(a[:0], b[:0]).shape == (0,)


def test_pictures_are_small_and_show_the_map():
    image, found = torch.zeros(1, 200, 100, dtype=torch.uint8), torch.zeros(200, 100)
    found[50, 20] = 2.0
    shown = overlaid(image, found)
    assert shown.shape == (200, 100, 3)
    assert shown[50, 20].tolist() == [126, 126, 96]  # half of the brightest colour
    assert shown[0, 0].tolist() == [0, 0, 2]
    colour = torch.tensor([10, 20, 30], dtype=torch.uint8)[:, None, None].expand(3, 2, 2)
    assert coloured(colour)[0, 0].tolist() == [10, 20, 30]


# --- through the stage -----------------------------------------------------------------------------------------------

SPEC = Spec("image", (1, 8, 8), 3)


def data():
    generator = torch.Generator().manual_seed(1)

    def split(count):
        images = torch.randint(0, 256, (count, 1, 8, 8), dtype=torch.uint8, generator=generator)
        return Split(images, torch.randint(0, 3, (count,), generator=generator))

    return Dataset("image", ("a", "b", "c"), split(9), split(11), split(23), (0.5,), (0.5,))


def checkpoint(folder, name="cnn", settings=None):
    model = registry().configured("model", name, settings or {"channels": 4})
    torch.manual_seed(len(str(folder)))
    replicas = {seed: Replica(model.build(SPEC)) for seed in (0, 1)}
    save(Checkpoint(Origin(*model.origin(), SPEC), replicas), folder)
    return load_checkpoint(folder)


def test_the_stage_draws_samples_and_keeps_pictures_of_one_replica(tmp_path):
    dense, other = checkpoint(tmp_path / "a"), checkpoint(tmp_path / "bb")
    found = evaluate(method(samples=10, shown=3), other, dense, data())
    row = found["replicas"]["1"]
    assert row["test"]["samples"] == row["validation"]["samples"] == 10
    assert -1 <= row["test"]["cam_correlation_low"] <= row["test"]["cam_correlation"] <= 1
    assert 0 <= row["test"]["cam_overlap"] <= 1
    samples = found["gallery"]["samples"]
    assert [len(sample["shared"]) + len(sample["own"]) for sample in samples] == [3, 3, 3]
    picture = Image.open(io.BytesIO(base64.b64decode(samples[0]["own"][0]["png"])))
    assert picture.size == (8, 8)
    assert max(picture.size) <= LARGEST
    again = evaluate(method(samples=10, shown=3), other, dense, data())
    assert again == found
    other_draw = evaluate(method(samples=10, seed=1), other, dense, data())
    assert other_draw["replicas"]["1"]["test"] != row["test"]


def test_a_dense_network_agrees_with_itself_and_has_no_map_of_its_own(tmp_path):
    dense = checkpoint(tmp_path / "a")
    found = evaluate(method(), dense, load_checkpoint(tmp_path / "a"), data())
    for row in found["replicas"].values():
        assert row["test"].get("cam_correlation", 1) == pytest.approx(1)
        assert row["test"].get("cam_overlap", 1) == 1
    assert all(sample["own"] == [] for sample in found["gallery"]["samples"])


def test_blank_maps_are_counted_and_left_out(tmp_path):
    dense, other = checkpoint(tmp_path / "a"), checkpoint(tmp_path / "bb")
    with torch.no_grad():
        for network in other.networks:
            for parameter in network.parameters():
                parameter.zero_()
    row = evaluate(method(), other, dense, data())["replicas"]["0"]["test"]
    assert row == {"cam_blank": 1.0, "samples": 23}


def test_networks_without_convolutions_have_none(tmp_path):
    dense = checkpoint(tmp_path / "a", "mlp", {"width": 6})
    found = evaluate(method(), dense, dense, data())
    assert found["replicas"]["0"]["test"] == {"samples": 23}
    assert "gallery" not in found


def test_a_transformer_is_looked_at_where_it_is_told(tmp_path):
    vit = checkpoint(tmp_path / "a", "vit", {"dim": 4, "grid": 4})
    layer = next(name for name, each in vit.networks[0].named_modules() if isinstance(each, nn.LayerNorm))
    row = evaluate(method(layer=layer, target="own"), checkpoint(tmp_path / "b", "vit", {"dim": 4, "grid": 4}), vit,
                   data())["replicas"]["0"]["test"]  # fmt: skip
    assert row["samples"] == 23
    assert "cam_blank" in row
