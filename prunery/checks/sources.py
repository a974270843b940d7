"""What is asked of where data and networks come from: data, model."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from prunery import toys
from prunery.checkpoint import Checkpoint, Origin, Replica, load, save
from prunery.checks.base import Case, check, seeded
from prunery.data import SPLITS, Dataset, Spec, load_dataset, save_dataset
from prunery.errors import PruneryError
from prunery.layers import compressible
from prunery.network import architecture


def _built(method: Any, spec: Spec, seed: int = 0) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network: nn.Module = method.build(spec).eval()
    return network


def _inputs(spec: Spec, batch: int) -> Tensor:
    if spec.kind == "text":
        return torch.randint(1, spec.vocabulary, (batch, *spec.shape), generator=seeded(0))
    return torch.randn(batch, *spec.shape, generator=seeded(0))


@check("model")
def networks_give_logits(case: Case) -> None:
    """Finite `[batch, classes]` from one tensor; no key holds a slash; something in it can be compressed."""
    network = _built(case.configured(), case.spec)
    with torch.no_grad():
        logits = network(_inputs(case.spec, 3))
    assert logits.shape == (3, case.spec.classes)
    assert logits.isfinite().all()
    assert not [key for key in network.state_dict() if "/" in key]
    assert list(compressible(network))


@check("model")
def networks_are_rebuilt_from_their_record(case: Case) -> None:
    """Same seed, same bytes; saved and read back by the recorded settings alone, the same outputs bit for bit."""
    method = case.configured()
    network, twin = _built(method, case.spec), _built(case.configured(), case.spec)
    assert toys.same_states(toys.states(network), toys.states(twin)), "the same seed gave different networks"
    name, settings = method.origin()
    origin = Origin(name, json.loads(json.dumps(settings)), case.spec)
    save(Checkpoint(origin, {0: Replica(network)}), case.tmp / "network")

    def rebuild(found: Origin) -> nn.Module:
        own = found.model == method.name
        again = type(method)(method.Settings.model_validate(found.settings)) if own else architecture(found)
        return _built(again, found.spec)

    again = load(case.tmp / "network", rebuild).networks[0].eval()
    inputs = _inputs(case.spec, 2)
    with torch.no_grad():
        assert torch.equal(again(inputs), network(inputs))


@check("model")
def stacked_replicas_equal_single_ones(case: Case) -> None:
    """An architecture that says it can be batched gives each replica the logits it gives alone."""
    method = case.configured()
    if not method.batched:
        pytest.skip(f"{method.name} does not claim that its replicas can be stacked")
    networks = [_built(method, case.spec, seed) for seed in range(3)]
    stacked, buffers = torch.func.stack_module_state(networks)
    inputs = _inputs(case.spec, 4)

    def single(values: dict[str, Tensor], kept: dict[str, Tensor]) -> Any:
        return torch.func.functional_call(networks[0], (values, kept), (inputs,))

    with torch.no_grad():
        together = torch.vmap(single)(stacked, buffers)
        for index, network in enumerate(networks):
            assert torch.allclose(together[index], network(inputs), rtol=1e-4, atol=1e-5)


@check("data")
def splits_are_as_promised(case: Case) -> None:
    """Types, shapes and labels of the three splits; network inputs are finite."""
    dataset = case.configured().load(case.folder)
    wanted = {"image": (torch.uint8, 4), "text": (torch.int32, 2)}[dataset.kind]
    for name in SPLITS:
        split = dataset.split(name)
        assert (split.inputs.dtype, split.inputs.dim()) == wanted, name
        assert split.labels.dtype == torch.int64
        assert len(split.inputs) == len(split.labels) > 0
        assert 0 <= int(split.labels.min()) <= int(split.labels.max()) < len(dataset.classes)
    _inputs_are_in_range(dataset)


def _inputs_are_in_range(dataset: Dataset) -> None:
    inputs, _ = next(dataset.batches("train", 64))
    if dataset.kind == "text":
        assert 0 <= int(inputs.min()) <= int(inputs.max()) < dataset.spec.vocabulary
        assert (inputs != 0).any(dim=1).all(), "a text without a single token"
    else:
        assert inputs.shape[1:] == dataset.spec.shape
        assert inputs.isfinite().all()
        assert inputs.std() > 0


@check("data")
def loading_is_repeatable_and_survives_a_file(case: Case) -> None:
    """Twice the same bytes, and the same after writing and reading the prepared file."""
    first, second = (case.configured().load(case.folder) for _ in range(2))
    for name in ("first", "second"):
        save_dataset(first if name == "first" else second, case.tmp / name)
    assert (case.tmp / "first").read_bytes() == (case.tmp / "second").read_bytes()
    again = load_dataset(case.tmp / "first")
    assert again.spec == first.spec
    assert torch.equal(again.train.inputs, first.train.inputs)


@check("data")
def missing_files_are_named(case: Case) -> None:
    """The files it reads exist; in an empty folder, or without one, it says in one line which it wants."""
    files = case.configured().files(case.folder)
    assert all(Path(file).exists() for file in files)
    if case.folder is None or not any(Path(file).is_relative_to(case.folder) for file in files):
        return
    for empty, said in ((case.tmp, str(case.tmp)), (None, "PRUNERY_DATA")):
        with pytest.raises(PruneryError, match=re.escape(said)) as raised:
            case.configured().files(empty)
        assert "\n" not in str(raised.value)
