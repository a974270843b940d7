"""Training: replicas in company and alone, and against a loop written out in plain PyTorch."""

from __future__ import annotations

import math
import re
from typing import final

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from prunery import Architecture, PruneryError
from prunery.batching import Batches, batch_sizes, crop_and_flip, derived_seed
from prunery.checkpoint import Origin
from prunery.network import architecture
from prunery.optimizing import learning_rate, mixed_precision
from prunery.patience import Patience
from prunery.registry import registry
from prunery.toys import same_states, states, toy_images, toy_texts
from prunery.train import initial, train
from prunery.trainsettings import TrainingSettings

MODELS = {"mlp": {"width": 12, "depth": 2}, "cnn": {}, "vit": {}}
NO_GRADIENT = re.compile(r".*\.key\..*bias")
"""Softmax takes no notice of a bias of the keys: its gradient is rounding, which Adam blows up to full steps."""


@final
class Noisy(Architecture):
    """Batch norm and dropout: cannot be stacked."""

    name = "noisy"

    def build(self, spec):
        layers = nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Dropout(0.5), nn.Linear(144, 4)
        return nn.Sequential(*layers)


def recipe(**settings):
    return registry().configured("train", "supervised", {"epochs": 3, "batch_size": 24, **settings})


def trained(model, seeds, dataset=None, progress=None, **settings):
    dataset = dataset or toy_images()
    chosen = Origin(model, MODELS.get(model, {}), dataset.spec)
    family = Noisy() if model == "noisy" else architecture(chosen)
    return train(recipe(**settings), family, chosen, dataset, seeds, progress or (lambda _: None))


def assert_same(first, second, seed):
    (one, history), (other, story) = first, second
    ours, theirs = states(one.replicas[seed].network), states(other.replicas[seed].network)
    for key, value in ours.items():
        if not NO_GRADIENT.fullmatch(key):
            assert torch.allclose(value.float(), theirs[key].float(), rtol=1e-3, atol=1e-4), key
    assert len(history[seed]) == len(story[seed])
    for row, line in zip(history[seed], story[seed], strict=True):
        assert row == pytest.approx(line, rel=1e-3, abs=1e-5)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"optimizer": "sgd", "learning_rate": 0.05, "clip_norm": 0.5, "weight_decay": 1e-2, "nesterov": True},
        {"crop_padding": 2, "horizontal_flip": True, "schedule": "cosine", "label_smoothing": 0.1},
        {"optimizer": "sgd", "learning_rate": 0.05, "l1_penalty": 1e-3, "weight_decay": 1e-3},
    ],
    ids=["adam", "sgd", "augmented", "penalised"],
)
def test_a_replica_in_a_batch_equals_the_same_replica_alone(model, settings):
    together = trained(model, [0, 3, 5], **settings)
    for seed in (0, 3, 5):
        assert_same(together, trained(model, [seed], **settings), seed)


@pytest.mark.parametrize("model", MODELS)
def test_thirty_replicas_on_digits_equal_each_alone(model):
    dataset = registry().configured("data", "digits", {"train_limit": 500}).load(None)
    settings = {"epochs": 5, "batch_size": 100, "patience": 3}
    together = trained(model, list(range(30)), dataset, **settings)
    for seed in (0, 11, 29):
        assert_same(together, trained(model, [seed], dataset, **settings), seed)


@pytest.mark.parametrize("model", MODELS)
def test_early_stopping_is_each_replicas_own(model):
    settings = {"epochs": 12, "patience": 1, "learning_rate": 0.01 if model == "vit" else 0.03}
    together = trained(model, list(range(5)), **settings)
    lengths = [len(rows) for rows in together[1].values()]
    assert len(set(lengths)) > 1, "the test wants replicas that stop at different epochs"
    for seed in range(5):
        assert_same(together, trained(model, [seed], **settings), seed)


def test_a_stopped_replica_has_its_best_weights():
    dataset = toy_images()
    checkpoint, history = trained("mlp", [0, 1, 2], epochs=12, patience=2, learning_rate=0.05)
    inputs, labels = next(dataset.batches("validation", 1000))
    for seed, rows in history.items():
        losses = [row["validation_loss"] for row in rows]
        assert len(rows) == 12 or len(rows) == 1 + losses.index(min(losses)) + 2
        loss = F.cross_entropy(checkpoint.replicas[seed].network(inputs), labels)
        assert loss.item() == pytest.approx(min(losses), rel=1e-4)


def test_batch_norm_and_dropout_are_looped_and_equal_training_alone():
    torch.manual_seed(7)
    lines = []
    together = trained("noisy", [0, 1], progress=lines.append)
    torch.manual_seed(8)
    for seed in (0, 1):
        alone = trained("noisy", [seed])
        assert_same(together, alone, seed)
    assert any(line.startswith("seed 1 (2 of 2)  epoch 3/3") for line in lines)


def test_the_callers_random_state_is_left_alone():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    trained("noisy", [0], epochs=1)
    trained("mlp", [0, 1], epochs=1)
    assert torch.equal(torch.rand(3), expected)


def test_the_same_seed_gives_the_same_bytes():
    first, second = trained("mlp", [0, 1]), trained("mlp", [0, 1])
    for seed in (0, 1):
        one, other = (states(result[0].replicas[seed].network) for result in (first, second))
        assert all(torch.equal(one[key], other[key]) for key in one)
    assert first[1] == second[1]


def plain_loop(network, dataset, epochs, batch, generator):
    """Adam on cross-entropy, written out."""
    optimizer = torch.optim.Adam(network.parameters(), 1e-3)
    inputs, labels = next(dataset.batches("train", 10_000))
    for _ in range(epochs):
        for index in torch.randperm(len(labels), generator=generator).split(batch):
            optimizer.zero_grad()
            F.cross_entropy(network(inputs[index]), labels[index]).backward()
            optimizer.step()


def test_it_is_ordinary_training():
    dataset = toy_images()
    checkpoint, history = trained("mlp", [4, 9], epochs=5)
    chosen = Origin("mlp", MODELS["mlp"], dataset.spec)
    for seed in (4, 9):
        network = initial(architecture(chosen), chosen, seed)
        generator = torch.Generator().manual_seed(derived_seed("train/order", seed, 0))
        plain_loop(network, dataset, 5, 24, generator)
        for key, value in network.state_dict().items():
            assert torch.allclose(value, states(checkpoint.replicas[seed].network)[key], atol=1e-5), key
        assert [row["epoch"] for row in history[seed]] == [1, 2, 3, 4, 5]
        inputs, labels = next(dataset.batches("validation", 1000))
        accuracy = float((network(inputs).argmax(1) == labels).float().mean())
        assert history[seed][-1]["validation_accuracy"] == pytest.approx(accuracy)


def test_it_learns():
    _, history = trained("mlp", [0, 1, 2], epochs=15)
    assert all(rows[-1]["validation_accuracy"] > 0.9 for rows in history.values())
    assert all(rows[-1]["train_loss"] < 0.5 * rows[0]["train_loss"] for rows in history.values())


def test_another_offset_gives_another_order_and_the_same_start():
    first, second = trained("mlp", [0], epochs=1), trained("mlp", [0], epochs=1, seed_offset=1)
    assert first[1] != second[1]
    one, other = trained("mlp", [0], epochs=0), trained("mlp", [0], epochs=0, seed_offset=1)
    assert torch.equal(
        states(one[0].replicas[0].network)["fc1.weight"], states(other[0].replicas[0].network)["fc1.weight"]
    )
    assert one[1] == {0: []}


def test_a_loss_that_is_not_finite_is_one_clear_error():
    with pytest.raises(PruneryError, match=r"loss of no network stays finite .*: lower 'learning_rate' \(now 1e\+18\)"):
        trained("mlp", [0, 1], optimizer="sgd", learning_rate=1e18, epochs=8)


@final
class Fragile(Architecture):
    """A perceptron whose seed 1 explodes."""

    name = "fragile"
    batched = True

    def build(self, spec):
        network = nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.ReLU(), nn.Linear(8, 4))
        if torch.initial_seed() == 1:
            nn.init.constant_(network[3].weight.data[0], 3e38)
        return network


@pytest.mark.parametrize("stacked", [True, False], ids=["stacked", "one by one"])
@pytest.mark.parametrize("patience", [None, 2])
def test_a_diverged_replica_is_told_of_and_harms_no_other(patience, stacked, monkeypatch):
    monkeypatch.setattr(Fragile, "batched", stacked)
    data, lines = toy_images(), []
    origin = Origin("fragile", {}, data.spec)

    def run(seeds, told=lambda _: None):
        return train(recipe(patience=patience), Fragile(), origin, data, seeds, told)

    together = run([0, 1, 2], lines.append)
    checkpoint, history = together
    assert checkpoint.provenance == {"diverged": {"1": 1}}
    assert any("beware: the loss of seed 1 is not finite in epoch 1" in line for line in lines)
    assert (len(history[1]), len(history[0])) == (0, 3)
    assert all(bool(value.isfinite().all()) for value in states(checkpoint.replicas[1].network).values())
    assert same_states(states(checkpoint.replicas[1].network), states(initial(Fragile(), origin, 1)))
    for seed in (0, 2):
        assert_same(together, run([seed]), seed)


def test_a_replica_that_diverges_late_keeps_its_last_finite_weights():
    data = toy_images()
    steps = len(batch_sizes(len(data.train), 24, False))

    class Turning(type(recipe())):
        calls = 0

        def loss(self, logits, labels, teacher):
            Turning.calls += 1
            losses = super().loss(logits, labels, teacher)
            doomed = torch.zeros_like(losses)
            doomed[1] = float("nan") if len(losses) == 3 and Turning.calls > steps else 0.0
            return losses + doomed

    chosen = Origin("mlp", MODELS["mlp"], data.spec)
    learner = Turning(recipe(epochs=3).settings)
    checkpoint, history = train(learner, architecture(chosen), chosen, data, [0, 1, 2], lambda _: None)
    assert checkpoint.provenance == {"diverged": {"1": 2}}
    assert [len(history[seed]) for seed in (0, 1, 2)] == [3, 1, 3]
    assert_same((checkpoint, history), trained("mlp", [1], epochs=1), 1)
    assert_same((checkpoint, history), trained("mlp", [2], epochs=3), 2)


def test_progress_tells_the_mean_over_replicas():
    lines = []
    _, history = trained("mlp", [0, 1, 2], progress=lines.append)
    mean = sum(rows[-1]["train_loss"] for rows in history.values()) / 3
    assert lines[0].startswith("epoch 1/3  loss ")
    assert lines[-1].startswith(f"epoch 3/3  loss {mean:.3f}  accuracy ")
    assert lines[-1].endswith("(mean of 3)")


def test_texts_refuse_image_augmentation():
    batches = Batches(toy_texts(), TrainingSettings(batch_size=50), [torch.Generator()], torch.device("cpu"))
    assert [batch.inputs.dtype for batch in batches.epoch()] == [torch.int64] * 3
    with pytest.raises(PruneryError, match="'horizontal_flip' are for images"):
        Batches(toy_texts(), TrainingSettings(horizontal_flip=True), [torch.Generator()], torch.device("cpu"))


def test_an_epoch_serves_every_sample_once_to_each_replica():
    dataset = toy_images()
    generators = [torch.Generator().manual_seed(seed) for seed in (0, 1)]
    batches = list(Batches(dataset, TrainingSettings(batch_size=24), generators, torch.device("cpu")).epoch())
    assert [batch.labels.shape for batch in batches] == [(2, 24)] * 5 + [(2, 8)]
    order = torch.cat([batch.samples for batch in batches], 1)
    assert not torch.equal(order[0], order[1])
    assert torch.equal(order.sort(1).values, torch.arange(128).expand(2, -1))
    expected = dataset.network_inputs(dataset.train.inputs[order[1, :24]])
    assert torch.equal(batches[0].inputs[1], expected)


def test_batch_sizes():
    assert batch_sizes(10, 4, False) == [4, 4, 2]
    assert batch_sizes(10, 4, True) == [4, 4]
    assert batch_sizes(9, 4, False) == [4, 4]
    assert batch_sizes(3, 4, True) == [3]
    assert batch_sizes(1, 4, False) == [1]


def test_crops_and_mirrors_against_a_naive_loop():
    images = torch.arange(2 * 3 * 4 * 5, dtype=torch.uint8).reshape(2, 3, 4, 5)
    down, right, mirrored = torch.tensor([0, 3]), torch.tensor([4, 1]), torch.tensor([False, True])
    padded = F.pad(images, (2, 2, 2, 2))
    naive = torch.stack([padded[0, :, 0:4, 4:9], padded[1, :, 3:7, 1:6].flip(-1)])
    assert torch.equal(crop_and_flip(images, 2, down, right, mirrored), naive)


def test_schedules():
    def rates(**settings):
        chosen = TrainingSettings(learning_rate=1.0, epochs=4, **settings)
        return [learning_rate(chosen, step, 5) for step in range(20)]

    assert rates() == [1.0] * 20
    assert rates(schedule="linear")[10] == pytest.approx(0.5)
    cosine = rates(schedule="cosine", warmup_steps=4)
    assert cosine[:5] == pytest.approx([0.25, 0.5, 0.75, 1.0, 1.0])
    assert cosine[12] == pytest.approx(0.5)
    assert cosine[19] == pytest.approx(0.5 * (1 + math.cos(math.pi * 15 / 16)))
    assert rates(schedule="linear", final_rate=0.2)[10] == pytest.approx(0.6)
    quarter = rates(schedule="cosine", final_rate=0.25)
    assert (quarter[0], quarter[10]) == pytest.approx((1.0, 0.625))
    assert quarter[19] == pytest.approx(0.25 + 0.75 * 0.5 * (1 + math.cos(math.pi * 19 / 20)))
    assert rates(schedule="step", step_epochs=2)[9:11] == pytest.approx([1.0, 0.1])


def test_patience():
    patience = Patience(2)
    assert patience.judge({0: 1.0, 1: 1.0}) == ({0, 1}, {0, 1})
    assert patience.judge({0: 2.0, 1: 0.5}) == ({1}, {0, 1})
    assert patience.judge({0: 1.0, 1: 0.6}) == (set(), {1})
    assert patience.judge({1: 0.5}) == (set(), set())
    assert Patience(None).judge({3: 1.0}) == ({3}, {3})


def test_biases_may_be_spared_the_decay():
    kept, decayed = (
        states(trained("mlp", [0], decay_vectors=spare, optimizer="adamw", weight_decay=100.0)[0].replicas[0].network)
        for spare in (False, True)
    )
    assert float(kept["output.bias"].abs().max()) > 2 * float(decayed["output.bias"].abs().max())
    assert float(kept["fc1.weight"].abs().max()) == pytest.approx(float(decayed["fc1.weight"].abs().max()), rel=0.5)


def test_an_l1_penalty_pulls_every_weight_by_its_factor():
    settings = {"optimizer": "sgd", "momentum": 0.0, "learning_rate": 0.1, "epochs": 1, "batch_size": 10_000}
    plain, pulled = (
        states(trained("mlp", [0], l1_penalty=factor, clip_norm=1.0, **settings)[0].replicas[0].network)
        for factor in (0.0, 0.01)
    )
    moved, large = plain["fc1.weight"] - pulled["fc1.weight"], plain["fc1.weight"].abs() > 0.2
    assert float((moved.abs() - 1e-3).abs().max()) < 1e-6
    assert large.any()
    assert torch.equal(moved[large].sign(), plain["fc1.weight"][large].sign())


def test_mixed_precision_computes_in_bf16_where_the_device_does():
    with mixed_precision("bf16", torch.device("cpu")):
        product = torch.ones(2, 2) @ torch.ones(2, 2)
    supported = torch.ops.mkldnn._is_mkldnn_bf16_supported()
    assert product.dtype == (torch.bfloat16 if supported else torch.float32)
    for model in MODELS:
        checkpoint, history = trained(model, [0, 1], precision="bf16", epochs=2)
        assert all(value.dtype == torch.float32 for value in checkpoint.networks[0].state_dict().values())
        assert math.isfinite(history[1][-1]["train_loss"])
