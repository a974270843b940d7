"""Quantization-aware training through the stages: what is simulated is what the integers compute."""

from __future__ import annotations

from typing import final

import pytest
import torch
from torch import nn

from prunery import Architecture, PruneryError
from prunery.bench import bench
from prunery.checkpoint import Checkpoint, Origin, Replica, load, save
from prunery.distill import distill
from prunery.edits import replay
from prunery.export import to_onnx
from prunery.finetune import finetune
from prunery.integer import IntegerLinear
from prunery.layers import integer_layers
from prunery.network import architecture, build
from prunery.prune import prune
from prunery.quantize import quantize
from prunery.registry import registry
from prunery.simulating import FakeQuantized, FakeQuantizedLinear, observed, simulating_layers
from prunery.toys import ToyNetwork, measured_by, same_states, states, toy_checkpoint, toy_images, toy_registered
from prunery.train import initial, train

MODELS = [("mlp", {"width": 12, "depth": 2}), ("cnn", {"channels": 4}), ("vit", {"dim": 8}), ("normed", {})]
SHORT = {"epochs": 4, "batch_size": 32, "learning_rate": 0.01}


@final
class Normed(Architecture):
    """A network with batch norms, a residual path and a convolution without bias."""

    name = "normed"

    def build(self, spec):
        """See `Architecture.build`."""
        return NormedNetwork(spec.classes)


class NormedNetwork(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(1, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8)
        self.conv2, self.bn2 = nn.Conv2d(8, 8, 3, padding=1, padding_mode="reflect"), nn.BatchNorm2d(8)
        self.head = nn.Linear(8, classes)

    def forward(self, x):
        x = self.bn1(self.conv1(x)).relu()
        x = (self.bn2(self.conv2(x)) + x).relu()
        return self.head(x.mean((2, 3)))


@pytest.fixture(autouse=True)
def _models():
    with toy_registered():
        registry().methods["model", "normed"] = Normed
        yield
        del registry().methods["model", "normed"]


def silent(line):
    pass


def trained(model="mlp", settings=None, seeds=(0,), stage="train", method="qat", **options) -> Checkpoint:
    architecture = registry().configured("model", model, settings or {})
    origin = Origin(model, architecture.recorded(), toy_images().spec)
    learner = registry().configured(stage, method, {**SHORT, **options})
    return train(learner, architecture, origin, toy_images(), list(seeds), silent)[0]


def tuned(parent: Checkpoint, method="qat", **options) -> Checkpoint:
    learner = registry().configured("finetune", method, {**SHORT, **options})
    return parent.child(finetune(learner, parent, toy_images(), silent)[0], {})


def quantized(parent: Checkpoint, method="qat", **options) -> Checkpoint:
    quantizer = registry().configured("quantize", method, options)
    return parent.child(quantize(quantizer, parent, measured_by(quantizer, parent)), {})


def logits(network):
    with torch.no_grad():
        return torch.cat([network.eval()(inputs) for inputs, _ in toy_images().batches("test", 64)])


def accuracy(network):
    return float((logits(network).argmax(1) == toy_images().test.labels).float().mean())


# --- the integers are those that were simulated ----------------------------------------------------------------------


@pytest.mark.parametrize("options", [{}, {"zero_point": "rounded"}, {"weight_scales": "channel"}])
@pytest.mark.parametrize(("model", "settings"), MODELS)
def test_integers_compute_what_was_simulated(model, settings, options):
    parent = trained(model, settings, epochs=8, **options)
    child = quantized(parent)
    wanted = logits(parent.networks[0])
    assert float((logits(child.networks[0]) - wanted).abs().max()) <= 1e-5 * float(wanted.abs().max())
    assert not list(simulating_layers(child.networks[0]))
    if model != "vit":
        assert accuracy(child.networks[0]) > 0.6


@pytest.mark.parametrize(("model", "settings"), MODELS)
def test_both_survive_save_and_load(model, settings, tmp_path):
    parent = trained(model, settings, seeds=(0, 3))
    for checkpoint, folder in ((parent, tmp_path / "simulating"), (quantized(parent), tmp_path / "integers")):
        save(checkpoint, folder)
        again = load(folder, build)
        for one, other in zip(checkpoint.networks, again.networks, strict=True):
            assert same_states(states(one), states(other))
            assert torch.equal(logits(one), logits(other))


def test_batch_norms_stay_where_weights_alone_are_rounded():
    parent = trained("normed", stage="finetune", method="supervised", epochs=8)
    child = tuned(parent, format="int4")
    assert [edit["edit"] for edit in child.replicas[0].edits] == ["fake_quantize"]
    norm, before = child.networks[0].bn1, parent.networks[0].bn1
    assert isinstance(norm, nn.BatchNorm2d)
    assert not torch.equal(norm.running_mean, before.running_mean)
    stored = quantized(child)
    assert torch.equal(logits(stored.networks[0]), logits(child.networks[0]))
    assert [edit["edit"] for edit in stored.replicas[0].edits] == ["fake_quantize", "weights"]


def test_batch_norms_are_folded_before_and_the_float_network_is_the_same():
    parent = trained("normed", stage="finetune", method="supervised", epochs=8)
    learner = registry().configured("finetune", "qat", SHORT)
    edits = learner.edits(parent.networks[0], toy_images().spec.example(1))
    assert [edit["edit"] for edit in edits] == ["fold_batch_norm", "fake_quantize"]
    assert edits[1]["layers"]["conv1.weight"]["rectified"]
    assert not edits[1]["layers"]["conv2.weight"]["rectified"]
    child = tuned(parent)
    assert accuracy(child.networks[0]) >= accuracy(parent.networks[0]) - 0.05
    assert isinstance(child.networks[0].bn1, nn.Identity)


def test_a_layer_behind_another_takes_its_grid():
    layers = dict(simulating_layers(trained(*MODELS[0]).networks[0]))
    assert {key: layer.rounding.source for key, layer in layers.items()} == {
        "fc1.weight": None,
        "fc2.weight": "fc1.weight",
        "output.weight": "fc2.weight",
    }
    child = quantized(trained(*MODELS[0])).networks[0]
    for side in ("scale", "zero_point"):
        assert torch.equal(child.fc2.get_buffer(f"weight/input_{side}"), child.fc1.get_buffer(f"weight/output_{side}"))


@pytest.mark.parametrize(("model", "settings"), [MODELS[0], MODELS[2]])
def test_a_replica_in_company_is_the_same_as_alone(model, settings):
    options = {"epochs": 2, "optimizer": "sgd"}  # adam makes a whole step even of a gradient that is noise
    together = trained(model, settings, seeds=range(30), **options)
    for seed in (0, 13, 29):
        alone = states(trained(model, settings, seeds=(seed,), **options).networks[0])
        assert states(together.replicas[seed].network).keys() == alone.keys()
        for key, value in states(together.replicas[seed].network).items():
            assert torch.allclose(value, alone[key], rtol=1e-3, atol=2e-5), key
    assert len({next(iter(observed(one).values()))["output_scale"].item() for one in together.networks}) == 30


def test_early_stopping_brings_the_ranges_of_the_best_epoch_back():
    options = {"epochs": 12, "patience": 1, "learning_rate": 0.3}
    together = trained(*MODELS[0], seeds=(0, 1, 2), **options)
    for seed in (0, 1, 2):
        alone = states(trained(*MODELS[0], seeds=(seed,), **options).networks[0])
        for key in ("fc1.weight/low", "fc1.weight/input_high", "fc2.weight/output_high"):
            found = states(together.replicas[seed].network)[key]
            assert torch.allclose(found, alone[key], rtol=1e-3, atol=1e-4), key


# --- among the other steps -------------------------------------------------------------------------------------------


def test_excluded_layers_stay_in_floating_point():
    parent = trained(*MODELS[0], exclude=("fc2*",))
    assert [key for key, _ in simulating_layers(parent.networks[0])] == ["fc1.weight", "output.weight"]
    assert dict(simulating_layers(parent.networks[0]))["output.weight"].rounding.source is None
    child = quantized(parent)
    assert [key for key, _ in integer_layers(child.networks[0])] == ["fc1.weight", "output.weight"]
    with pytest.raises(PruneryError, match="leaves no layer"):
        trained(*MODELS[0], exclude=("*",))


@pytest.mark.parametrize("method", ["qat", "supervised"])
def test_training_goes_on_simulating(method):
    parent = trained(*MODELS[0])
    child = tuned(parent, method)
    assert child.replicas[0].edits == parent.replicas[0].edits
    before, after = observed(parent.networks[0]), observed(child.networks[0])
    assert list(before) == list(after) == ["fc1.weight", "fc2.weight", "output.weight"]
    assert before["fc1.weight"]["output_scale"] != after["fc1.weight"]["output_scale"]
    wanted = logits(child.networks[0])
    assert torch.allclose(logits(quantized(child).networks[0]), wanted, atol=1e-5 * float(wanted.abs().max()))


def test_distillation_goes_on_simulating():
    parent, teacher = trained(*MODELS[0]), trained(*MODELS[0], method="supervised")
    learner = registry().configured("distill", "kd", SHORT)
    child = parent.child(distill(learner, parent, teacher, toy_images(), silent)[0], {})
    assert len(observed(child.networks[0])) == 3
    assert accuracy(quantized(child).networks[0]) > 0.6


@pytest.mark.parametrize("order", ["prune first", "simulate first"])
def test_pruned_weights_stay_zero(order):
    pruner = registry().configured("prune", "magnitude", {"sparsity": 0.6})
    parent = trained(*MODELS[0], method="supervised" if order == "prune first" else "qat")
    child = tuned(parent.child(prune(pruner, parent, {}), {}))
    for network in (child.networks[0], quantized(child).networks[0]):
        state = states(network)
        pruned = [(state[f"{name}.weight"], state[f"{name}.weight/mask"]) for name in ("fc1", "fc2", "output")]
        assert sum(int((~mask).sum()) for _, mask in pruned) == int(0.6 * sum(mask.numel() for _, mask in pruned))
        assert not any(weight[~mask].any() for weight, mask in pruned)


def test_a_network_without_a_weight_left_still_answers():
    pruner = registry().configured("prune", "magnitude", {"sparsity": 0.999})
    parent = trained(*MODELS[0])
    child = quantized(parent.child(prune(pruner, parent, {}), {}))
    assert logits(child.networks[0]).isfinite().all()


def test_post_training_quantization_may_take_over():
    parent = trained(*MODELS[0], epochs=8)
    child = quantized(parent, "ptq", first_last="float").networks[0]
    assert [key for key, _ in integer_layers(child)] == ["fc2.weight"]
    assert not list(simulating_layers(child))
    assert type(child.fc1) is nn.Linear
    assert isinstance(child.fc2, IntegerLinear)
    assert accuracy(child) >= accuracy(parent.networks[0]) - 0.05


def test_layers_that_go_back_to_floating_point_are_loaded_so(tmp_path):
    child = quantized(trained(*MODELS[0]), "ptq", first_last="float")
    assert child.replicas[0].edits[-1] == {"edit": "float", "keys": ["fc1.weight", "output.weight"]}
    save(child, tmp_path)
    assert same_states(states(load(tmp_path, build).networks[0]), states(child.networks[0]))


def test_layers_that_do_not_run_or_compute_otherwise_do_not_simulate():
    class Doubled(nn.Linear):
        def forward(self, inputs):
            return 2 * super().forward(inputs)

    network = nn.Sequential(nn.Flatten(), Doubled(64, 8), nn.ReLU(), nn.Linear(8, 4))
    network[1].spare = nn.Linear(3, 3)
    learner = registry().configured("train", "qat", {})
    (edit,) = learner.edits(network, torch.zeros(1, 1, 8, 8))
    assert list(edit["layers"]) == ["3.weight"]
    with pytest.raises(PruneryError, match="train method 'qat': the network runs no Linear or Conv2d to quantize"):
        learner.edits(nn.Sequential(nn.Flatten(), Doubled(64, 4)), torch.zeros(1, 1, 8, 8))


def test_a_network_that_never_trained_so_is_refused():
    with pytest.raises(PruneryError, match="quantize method 'qat': no layer of the network was trained under"):
        quantized(trained(*MODELS[0], method="supervised"))


# --- runtimes --------------------------------------------------------------------------------------------------------


def benched(network: Checkpoint, dense: Checkpoint, *names: str):
    method = registry().configured("bench", "latency", {"rounds": 5, "warmup": 1, "threads": 1, "batch": 8})
    backends = {name: registry().configured("backend", name, {}) for name in names}
    return bench(method, network, dense, toy_images(), backends, silent)["backends"]


@pytest.mark.parametrize("model", ["mlp", "cnn", "normed"])
def test_runtimes_agree_and_run_integers(model):
    parent = trained(model, dict(MODELS)[model], epochs=8)
    for name, found in benched(quantized(parent), parent, "onnxruntime", "openvino").items():
        assert found["status"] == "ok", name
        assert found["integer_share"] > 0.5
        assert abs(found["accuracy"]["test"] - found["accuracy"]["eager"]) <= 0.005
        assert (found["precision"], found["reference_precision"]) == ("int8", "fp32")


def test_a_network_that_only_simulates_has_no_time(tmp_path):
    parent = trained(*MODELS[0])
    for found in benched(parent, parent, "eager", "onnxruntime").values():
        assert found["status"].startswith("fc1.weight only simulates integers: put quantize=qat behind this recipe")
        assert "latency_ms" not in found
    assert isinstance(parent.networks[0].fc1, FakeQuantizedLinear)
    with pytest.raises(PruneryError, match=r"fc1\.weight only simulates integers and has no ONNX form"):
        to_onnx(parent.networks[0], toy_images().spec.example(1), tmp_path / "network.onnx")


def test_toys_simulate_too():
    parent = toy_checkpoint((0,))
    layers = [layer for layer in tuned(parent).networks[0].modules() if isinstance(layer, FakeQuantized)]
    assert len(layers) == 4
    assert ToyNetwork.batched


def test_a_replica_that_diverged_at_once_is_quantized_too_and_harms_no_other():
    data = toy_images()
    origin = Origin("mlp", {"width": 4}, data.spec)
    learner = registry().configured("train", "qat", {"epochs": 2})
    trained, _ = train(learner, architecture(origin), origin, data, [0, 1], lambda _: None)
    never = replay(initial(architecture(origin), origin, 1), trained.replicas[1].edits)  # no range was observed
    parent = Checkpoint(origin, {**trained.replicas, 1: Replica(never, trained.replicas[1].edits)}, {})
    made = quantize(registry().configured("quantize", "qat", {}), parent, {})
    inputs = next(data.batches("test", 64))[0]
    for seed, replica in made.items():
        assert len(list(integer_layers(replica.network))) == 2
        wanted = parent.replicas[seed].network.eval()(inputs)
        assert torch.allclose(replica.network.eval()(inputs), wanted, atol=1e-3)
