"""What is asked of measures and backends: calibrate, spectral_fit, evaluate, bench, analyse, backend."""

from __future__ import annotations

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from prunery import toys
from prunery.checks.base import Case, check, is_json, seeded, silent, stage_function
from prunery.edits import replay, weights_edit
from prunery.findings import Findings
from prunery.layers import compressible, quantized_layers, weights
from prunery.measured import load_findings, save_findings
from prunery.measuring import PRECISIONS
from prunery.precisions import kernels
from prunery.recipe import expand
from prunery.registry import registry
from prunery.toyresults import toy_results
from prunery.weightonly import weight_plans


@check("calibrate")
def statistics_are_by_key(case: Case) -> None:
    """Finite tensors by compressible key; repeatable; the network, its mode and its hooks as before."""
    network = toys.toy_checkpoint((0,), masked=True).networks[0]
    before, hooks = toys.states(network), _hooks(network)
    first, second = (case.configured().measure(network, toys.toy_images().batches("train", 48)) for _ in range(2))
    assert toys.same_states(toys.states(network), before), "the network was changed"
    assert not network.training
    assert _hooks(network) == hooks, "hooks were left behind"
    assert all(parameter.grad is None for parameter in network.parameters()), "gradients were left behind"
    assert set(first) == {key for key, _ in compressible(network)}
    for key, row in first.items():
        assert row
        assert toys.same_states(row, second[key]), f"{key}: two runs differ"
        assert all(value.isfinite().all() for value in row.values()), key


def _hooks(network: nn.Module) -> int:
    return sum(len(layer._forward_hooks) + len(layer._forward_pre_hooks) for layer in network.modules())


@check("spectral_fit")
def fits_are_figures(case: Case) -> None:
    """Wide, tall and square matrices give JSON, the same from several threads at once; the matrices as before."""
    method = case.configured()
    matrices = [torch.randn(shape, generator=seeded(0)) for shape in ((24, 40), (40, 24), (32, 32), (4, 9))]
    before = [matrix.clone() for matrix in matrices]
    alone = [method.fit(matrix) for matrix in matrices]
    with ThreadPoolExecutor(len(matrices)) as pool:
        assert list(pool.map(method.fit, matrices)) == alone, "threads disturb each other"
    assert all(alone)
    assert all(torch.equal(matrix, copy) for matrix, copy in zip(matrices, before, strict=True))
    is_json(alone)


@check("calibrate", "spectral_fit")
def findings_survive_save_and_load(case: Case) -> None:
    """Through the stage, into a file, and back: the same values for every seed, key and statistic."""
    method, parent = case.configured(), toys.toy_checkpoint()
    data = [toys.toy_images()] if method.stage == "calibrate" else []
    findings = stage_function(method.stage)(method, parent, *data)
    path = case.tmp / ("found.safetensors" if method.stage == "calibrate" else "found.json")
    save_findings(findings, path)
    again = load_findings(path)
    assert list(again) == parent.seeds
    for seed, rows in findings.items():
        assert set(again[seed]) == set(weights(parent.replicas[seed].network))
        for key, row in rows.items():
            assert set(again[seed][key]) == set(row)
            for name, value in row.items():
                read = again[seed][key][name]
                assert torch.equal(read, value) if isinstance(value, Tensor) else read == value, f"{key}/{name}"


@check("evaluate")
def figures_are_finite_numbers(case: Case) -> None:
    """By name, for one split; a generator of batches is enough."""
    network, dense = toys.toy_checkpoint((0, 1)).networks
    with torch.no_grad():
        found = case.configured().figures(network, dense, toys.toy_images().batches("test", 24))
    assert found
    layers = found.pop("layers", {})
    numbers = [*found.values(), *(value for row in layers.values() for value in row.values())]
    assert all(isinstance(value, int | float) and math.isfinite(value) for value in numbers)
    assert set(layers) <= set(weights(dense)), "`layers` is by key of the weight"


@check("evaluate")
def figures_are_json_and_repeatable(case: Case) -> None:
    """The same figures twice; the networks as before."""
    network, dense = toys.toy_checkpoint(masked=True), toys.toy_checkpoint()
    before = [toys.states(module) for module in network.networks]
    first, second = (stage_function("evaluate")(case.configured(), network, dense, toys.toy_images()) for _ in range(2))
    assert first
    assert first == second
    assert all(toys.same_states(toys.states(*pair[:1]), pair[1]) for pair in zip(network.networks, before, strict=True))
    is_json(first)


@check("backend")
def runs_agree_with_eager(case: Case) -> None:
    """The compiled network gives the logits of the eager one, for other inputs than it was compiled with, too.

    In bf16, whose numbers have three digits, logits may lie a few percent of the largest apart.
    """
    method = case.configured()
    far = (1e-3, 1e-4) if method.arithmetic == "fp32" else (0.03, 0.03)
    assert method.precisions
    assert set(method.precisions) <= set(PRECISIONS)
    if absent := method.available():
        pytest.skip(absent)
    network = toys.toy_checkpoint((0,)).networks[0]
    before = toys.states(network)
    batches = [inputs for inputs, _ in toys.toy_images().batches("test", 8)][:2]
    run = method.prepare(network, batches[0], case.tmp, 1)
    for inputs in batches:
        with torch.no_grad():
            assert torch.allclose(run(inputs).cpu(), network(inputs), *far)
    assert toys.same_states(toys.states(network), before), "the network was changed"


@check("backend")
def integer_share_is_a_share(case: Case) -> None:
    """None where the backend does not say; none or nothing in integers for a network in floating point."""
    method = case.configured()
    if absent := method.available():
        pytest.skip(absent)
    network = toys.toy_checkpoint((0,)).networks[0]
    inputs = next(toys.toy_images().batches("test", 8))[0]
    assert method.integer_share(method.prepare(network, inputs, case.tmp, 1), inputs) in (None, 0.0)


@check("backend")
def sparse_share_is_a_share(case: Case) -> None:
    """None where the backend has no sparse kernels; nothing of a dense network ran on some."""
    method = case.configured()
    if absent := method.available():
        pytest.skip(absent)
    network = toys.toy_checkpoint((0,)).networks[0]
    inputs = next(toys.toy_images().batches("test", 8))[0]
    assert method.sparse_share(method.prepare(network, inputs, case.tmp, 1), inputs) in (None, 0.0)


@check("backend")
def integers_run_as_stored(case: Case) -> None:
    """Quantized networks of the kinds a backend claims: their own logits, up to the grids, and some kernels at work."""
    method = case.configured()
    networks = {kind: build() for kind, build in QUANTIZED.items() if kind in method.precisions}
    if absent := method.available() or (not networks and f"{method.name} claims no integers"):
        pytest.skip(absent)
    inputs = next(toys.toy_images().batches("test", 8))[0]
    for kind, network in networks.items():
        assert kind in kernels(network)
        folder = case.tmp / kind.replace(" ", "-")
        folder.mkdir()
        run = method.prepare(network, inputs, folder, 1)
        with torch.no_grad():
            wanted = network(inputs)
        assert float((run(inputs).cpu() - wanted).abs().mean()) < 0.1 * float(wanted.std()), kind
        share = method.integer_share(run, inputs)
        assert share is None or 0 < share <= 1, kind


def _computing_in_integers() -> nn.Module:
    """A toy network by the first registered quantizer that makes activations integers."""
    parent = toys.toy_checkpoint((0,))
    for name in registry().names("quantize"):
        quantizer: Any = registry().configured("quantize", name, {})
        if not quantizer.follows:
            replicas = stage_function("quantize")(quantizer, parent, toys.measured_by(quantizer, parent))
            if "int8" in kernels(replicas[0].network):
                return replicas[0].network.eval()
    pytest.skip("no registered quantizer makes activations integers")


def _storing(format_: str) -> nn.Module:
    """A toy network with all weights in a format."""
    network = toys.toy_checkpoint((0,)).networks[0]
    shown = weights(network)
    plans = weight_plans(shown, dict.fromkeys(shown, format_))
    replay(network, [weights_edit(plans)])
    for key, layer in quantized_layers(network):
        layer.fill(plans[key])
    return network.eval()


QUANTIZED: dict[str, Callable[[], nn.Module]] = {
    "int8": _computing_in_integers,
    "int8 weights": partial(_storing, "int8"),
    "int4 weights": partial(_storing, "int4"),
}
"""A network for each kind of kernel."""


@check("bench")
def figures_of_the_eager_backend_are_json(case: Case) -> None:
    """Through the stage, a toy network beside its dense ancestor on the registered backend the settings name first."""
    method = case.configured()
    names = list(method.settings.backends)[:1]
    backends = {name: registry().configured("backend", name, {}) for name in names}
    network, dense = toys.toy_checkpoint((0,), masked=True), toys.toy_checkpoint((0,))
    figures = stage_function("bench")(method, network, dense, toys.toy_images(), backends, silent)
    assert figures
    is_json(figures)


@check("analyse")
def recipes_are_spelled_as_in_a_config(case: Case) -> None:
    """There are some, and each can be written out."""
    spelled = case.configured().recipes()
    assert spelled
    assert all(expand(text) for text in spelled)


@check("analyse")
def findings_are_json_and_repeatable(case: Case) -> None:
    """Of a made-up study of the recipes it reads, of one seed too: the same twice, the tables as before."""
    method = case.configured()
    for seeds in (4, 1):
        results = toy_results(method.recipes(), seeds)
        before = results.replicas.copy()
        first, second = (method.analyse(results) for _ in range(2))
        assert isinstance(first, Findings)
        assert first == second, "two runs differ"
        assert results.replicas.equals(before), "the results were changed"
        is_json(first.model_dump(mode="json"))
