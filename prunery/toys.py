"""Toys for tests: a small network, data it can learn, checkpoints of it, and the measurements methods ask for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, final

import torch
from pydantic import Field
from torch import Tensor, nn

from prunery.checkpoint import Checkpoint, Origin, Replica, load, save
from prunery.contract import Architecture, Method, Settings
from prunery.data import Dataset, Spec, Split
from prunery.edits import add_masks, mask_edit
from prunery.layers import as_matrix, layer_of, weights
from prunery.needs import parse_need
from prunery.registry import registry
from prunery.simulating import with_observed

CLASSES = ("north", "east", "south", "west")


def toy_images(side: int = 8) -> Dataset:
    """Gray images of four classes: each shows its class's pattern under noise, so beating 25 % is easy."""
    generator = torch.Generator().manual_seed(0)
    patterns = torch.rand(len(CLASSES), 1, side, side, generator=generator)

    def draw(count: int) -> Split:
        labels = torch.arange(count) % len(CLASSES)
        noise = torch.rand(count, 1, side, side, generator=generator)
        return Split(((0.6 * patterns[labels] + 0.4 * noise) * 255).to(torch.uint8), labels)

    return Dataset("image", CLASSES, draw(128), draw(32), draw(64), mean=(0.5,), std=(0.25,))


def toy_texts(length: int = 12) -> Dataset:
    """Token sequences of four classes; each class prefers its own tokens, the last few positions are padding (0)."""
    generator = torch.Generator().manual_seed(0)
    vocabulary = ("[PAD]", *(f"word{number}" for number in range(1, 24)))

    def draw(count: int) -> Split:
        labels = torch.arange(count) % len(CLASSES)
        common = torch.randint(1, len(vocabulary), (count, length), generator=generator)
        own = 1 + labels[:, None] * 5 + torch.randint(0, 5, (count, length), generator=generator)
        tokens = torch.where(torch.rand(count, length, generator=generator) < 0.6, own, common)
        padded = torch.arange(length) >= torch.randint(length // 2, length + 1, (count, 1), generator=generator)
        return Split(tokens.masked_fill(padded, 0).to(torch.int32), labels)

    return Dataset("text", CLASSES, draw(128), draw(32), draw(64), vocabulary=vocabulary)


class ToySettings(Settings):
    """Settings of the toy network."""

    width: int = Field(8, ge=4, multiple_of=4, description="channels of the convolutions, a multiple of 4")


@final
class ToyNetwork(Architecture):
    """Two convolutions and two linear layers; inputs of all but the first come in fours."""

    name = "toy"
    Settings = ToySettings
    batched = True

    def build(self, spec: Spec) -> nn.Module:
        """The network for images of any size; see `Architecture.build`."""
        channels, width = spec.shape[0], self.settings.width
        side = -(-spec.shape[1] // 4)
        return nn.Sequential(
            nn.Conv2d(channels, width, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(width * side * side, 16),
            nn.ReLU(),
            nn.Linear(16, spec.classes),
        )


@contextmanager
def toy_registered() -> Iterator[None]:
    """While it lasts, the registry of this process knows the toy network, as stages that look it up want."""
    key = (ToyNetwork.stage, ToyNetwork.name)
    registry().methods[key] = ToyNetwork
    try:
        yield
    finally:
        del registry().methods[key]


def toy_build(origin: Origin) -> nn.Module:
    """What `prunery.checkpoint.load` needs to rebuild the toy network."""
    return ToyNetwork(ToySettings(**origin.settings)).build(origin.spec)


def toy_checkpoint(seeds: Sequence[int] = (0, 1), masked: bool = False) -> Checkpoint:
    """Untrained toy networks; `masked` freezes every third weight of two layers at zero."""
    origin = Origin("toy", {"width": 8}, toy_images().spec)
    replicas = {}
    for seed in seeds:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            replicas[seed] = Replica(toy_build(origin).eval())
        if masked:
            _mask(replicas[seed], ["2.weight", "5.weight"])
    return Checkpoint(origin, replicas, hash="toy")


def _mask(replica: Replica, keys: list[str]) -> None:
    edit = mask_edit(keys)
    add_masks(replica.network, edit)
    replica.edits.append(edit)
    for layer in (layer_of(replica.network, key) for key in keys):
        mask = layer.get_buffer("weight/mask")
        mask.view(-1)[::3] = False
        layer.get_parameter("weight").data.masked_fill_(~mask, 0)


def reloaded(checkpoint: Checkpoint, folder: Path) -> Checkpoint:
    """A toy checkpoint, saved to a folder and read back."""
    save(checkpoint, folder)
    return load(folder, toy_build)


def measured_by(method: Method, checkpoint: Checkpoint) -> dict[int, dict[str, Any]]:
    """The measurements `method.needs()` names, taken of toy networks by the registered measures of those names.

    Networks that simulate quantization add the grids they trained with, as in the stage `quantize`.
    """
    return {
        seed: with_observed(
            {parse_need(need).variant: _measure(need, one.network) for need in method.needs()}, one.network
        )
        for seed, one in checkpoint.replicas.items()
    }


def _measure(need: str, network: nn.Module) -> dict[str, Any]:
    wanted = parse_need(need)
    if wanted.history:
        even = {"accuracy": 0.25, "loss": 1.4}
        return {"results/toy/seeds=0-1": {"validation": even, "test": even, "sparsity": 0.0, "weight_sparsity": 0.0}}
    measure: Any = registry().configured(wanted.stage, wanted.variant, {})
    if wanted.stage == "spectral_fit":
        return {key: measure.fit(as_matrix(weight)) for key, weight in weights(network).items()}
    rows: dict[str, Any] = measure.measure(network, toy_images().batches("train", 32))
    return rows


def states(network: nn.Module) -> dict[str, Tensor]:
    """A copy of a network's state dict, to compare with later."""
    return {key: value.detach().cpu().clone() for key, value in network.state_dict().items()}


def same_states(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    """Whether two state dicts hold the same keys, dtypes and bytes."""
    return first.keys() == second.keys() and all(
        first[key].dtype == second[key].dtype and torch.equal(first[key], second[key]) for key in first
    )
