"""The stage `bench`: nothing is timed before it is checked, and every reason is said."""

import math
from pathlib import Path

import pytest
import torch

from prunery import Backend, Bencher
from prunery.bench import bench
from prunery.contract import BenchSettings
from prunery.errors import PruneryError
from prunery.machine import processor
from prunery.prune import prune
from prunery.quantize import quantize
from prunery.registry import registry
from prunery.rounds import statistics
from prunery.toys import measured_by, toy_checkpoint, toy_images


class Counted(Bencher):
    """Calls each network once a round; the network is always twice as fast as the dense one, whose twin is slower."""

    name = "counted"

    def times(self, calls):
        self.outputs = [call() for call in calls]
        return [[0.001, 0.002, 0.003], [0.002, 0.004, 0.006], [0.0022, 0.0044, 0.0066]]


class Fake(Backend):
    """Eager, with any fault a test wants."""

    name = "fake"
    precisions = ("fp32", "int8")

    def __init__(self, absent=None, spoil=lambda logits: logits, share=0.5, fail=None, precisions=precisions):
        super().__init__()
        self.absent, self.spoil, self.share, self.fail = absent, spoil, share, fail
        self.precisions, self.prepared, self.sparse = precisions, [], None

    def available(self):
        return self.absent

    def prepare(self, network, example, folder, threads):
        assert folder.is_dir()
        assert not list(folder.iterdir())
        self.prepared.append((folder, tuple(example.shape), threads))
        if self.fail:
            raise self.fail

        def run(inputs):
            with torch.no_grad():
                return self.spoil(network(inputs))

        return run

    def integer_share(self, run, example):
        return self.share

    def sparse_share(self, run, example):
        return self.sparse


def trained(seeds=(0, 1)):
    """Networks sure enough of their classes that rounding does not flip them."""
    parent = toy_checkpoint(seeds)
    for network in parent.networks:
        optimizer = torch.optim.Adam(network.parameters(), 0.01)
        for _ in range(12):
            for inputs, labels in toy_images().batches("train", 32):
                optimizer.zero_grad()
                torch.nn.functional.cross_entropy(network(inputs), labels).backward()
                optimizer.step()
    return parent


@pytest.fixture(scope="module")
def pair():
    """A quantized network and its dense parent."""
    dense = trained()
    method = registry().configured("quantize", "ptq", {})
    return dense.child(quantize(method, dense, measured_by(method, dense)), {}), dense


def run(network, dense, backend, progress=lambda line: None, **settings):
    method = Counted(BenchSettings(backends=("fake",), threads=2, **settings))
    record = bench(method, network, dense, toy_images(), {"fake": backend}, progress)
    return record, record["backends"]["fake"], method


def test_a_good_run_gives_every_figure(pair):
    network, dense = pair
    lines = []
    record, found, method = run(network, dense, Fake(), lines.append, batch=4)
    assert (record["batch"], record["samples"], record["replica"]) == (4, 64, 0)
    assert record["machine"]["threads"] == 2
    assert record["machine"]["versions"]["torch"] == torch.__version__.partition("+")[0]
    assert (found["status"], found["kind"]) == ("ok", "quantization")
    assert (found["precision"], found["reference_precision"]) == ("int8", "fp32")
    assert found["latency_ms"]["median"] == pytest.approx(2)
    assert found["reference_latency_ms"]["median"] == pytest.approx(4)
    assert found["speedup"] == {"ratio": 2, "low": 2, "high": 2}
    assert found["control"] == pytest.approx({"ratio": 1 / 1.1, "low": 1 / 1.1, "high": 1 / 1.1})
    assert found["throughput"] == pytest.approx(4 / 0.002)
    assert (found["integer_share"], found["agreement"], found["max_error"]) == (0.5, 1, 0)
    assert found["accuracy"]["test"] == found["accuracy"]["eager"] > 0.9
    assert [tuple(logits.shape) for logits in method.outputs] == [(4, 4)] * 3
    assert lines == ["fake: 2 ms, 2.00x the dense network's speed (int8 to fp32)"]


def test_equal_precisions_are_a_matter_of_structure(pair):
    _, dense = pair
    _, found, _ = run(dense, dense, Fake())
    assert (found["status"], found["kind"], found["integer_share"]) == ("ok", "structure", None)


def test_each_network_has_a_folder_and_the_asked_replica_is_run(pair):
    network, dense = pair
    backend = Fake()
    record, _, _ = run(network, dense, backend, batch=3, replica=1)
    folders, shapes, threads = zip(*backend.prepared, strict=True)
    assert record["replica"] == 1
    assert len(set(folders)) == 3
    assert set(shapes) == {(3, 1, 8, 8)}
    assert set(threads) == {2}
    with pytest.raises(PruneryError, match=r"no seed 5, only \[0, 1\]: set replica"):
        run(network, dense, Fake(), replica=5)


def noise(logits):
    return logits + 0.01 * logits.abs().max() * torch.ones_like(logits)


@pytest.mark.parametrize(
    ("backend", "status"),
    [
        (Fake(absent="no such device: buy one"), "no such device: buy one"),
        (Fake(precisions=("fp32",)), "fake has no int8 kernels here"),
        (Fake(share=0.0), "fake ran none of the network's products with int8 kernels"),
        (Fake(share=None), "fake ran none of the network's products with int8 kernels"),
        (Fake(fail=RuntimeError("broken\nby design")), "fake failed: RuntimeError: broken"),
        (Fake(spoil=lambda logits: logits.roll(1, 1)), "outputs differ from eager: 0.0% of classes agree"),
        (Fake(spoil=lambda logits: logits * math.nan), "fake answers with NaN or infinity"),
        (Fake(spoil=noise), "dense network: outputs differ from eager by 0.01 of the largest logit"),
    ],
)
def test_without_trust_there_is_no_time(pair, backend, status):
    lines = []
    _, found, method = run(*pair, backend, lines.append)
    assert found["status"].startswith(status)
    assert not found.keys() & {"latency_ms", "speedup", "throughput"}
    assert not hasattr(method, "outputs")
    assert lines[0].startswith(f"fake: no time: {status}")


def test_fp32_must_agree_to_the_tolerance(pair):
    _, dense = pair
    _, found, _ = run(dense, dense, Fake(spoil=noise))
    assert found["status"].startswith("outputs differ from eager by 0.01")
    assert found["max_error"] == pytest.approx(0.01, rel=1e-3)
    _, found, _ = run(dense, dense, Fake(spoil=noise), tolerance=0.02)
    assert found["status"] == "ok"


def test_integers_may_flip_few_classes_but_not_move_accuracy(pair):
    network, dense = pair
    flips = iter(range(10_000))

    def flip_two(logits):
        return logits.roll(1, 1) if next(flips) in (3, 40) else logits

    _, found, _ = run(network, dense, Fake(spoil=flip_two))
    assert found["agreement"] == pytest.approx(1 - 2 / 64)
    assert "96.9% of classes agree" in found["status"]
    assert "apart" in found["status"]


def test_the_last_batch_is_filled_up_and_counted_once(pair):
    _, dense = pair
    seen = []

    class Watching(Fake):
        def prepare(self, *arguments):
            inner = super().prepare(*arguments)
            return lambda inputs: (seen.append(len(inputs)), inner(inputs))[1]

    record, found, _ = run(dense, dense, Watching(), batch=24, samples=50)
    assert record["samples"] == 50
    assert set(seen) == {24}
    assert found["agreement"] == 1


def test_statistics_by_hand():
    seconds = [1.0, 2.0, 4.0], [2.0, 2.0, 2.0], [2.0, 1.0, 1.0]
    found = statistics(*seconds, batch=8)
    assert found["latency_ms"]["median"] == 2000
    assert found["speedup"]["ratio"] == 1
    assert found["throughput"] == 4
    assert found["speedup"]["low"] == 0.5
    assert found["speedup"]["high"] == 2
    assert found["control"] == {"ratio": 2, "low": 1, "high": 2}
    assert found == statistics(*seconds, batch=8)


def test_an_interval_holds_the_median_of_its_source():
    generator = torch.Generator().manual_seed(0)
    held = 0
    for _ in range(200):
        ratios = (1.5 + 0.1 * torch.randn(40, generator=generator)).tolist()
        speedup = statistics([1.0] * 40, ratios, ratios, 1)["speedup"]
        held += speedup["low"] <= 1.5 <= speedup["high"]
    assert 0.90 < held / 200 <= 0.99


def test_processors_are_read(tmp_path):
    path = tmp_path / "cpuinfo"
    path.write_text("model name\t: A chip\nflags\t\t: avx2 avx512_vnni\n\nmodel name\t: another\n")
    assert processor(path) == {"model name": "A chip", "flags": "avx2 avx512_vnni"}
    assert processor(Path("/no/such/file")) == {}


def test_real_runtimes_agree_with_what_is_stored(pair):
    network, dense = pair
    method = registry().configured("bench", "latency", {"rounds": 5, "warmup": 1, "threads": 1})
    backends = {name: registry().configured("backend", name, {}) for name in ("eager", "onnxruntime", "openvino")}
    found = bench(method, network, dense, toy_images(), backends, lambda line: None)["backends"]
    assert found["eager"]["status"] == "eager has no int8 kernels here"
    for name in ("onnxruntime", "openvino"):
        assert found[name]["status"] == "ok", name
        assert found[name]["integer_share"] == 1, name
        assert abs(found[name]["accuracy"]["test"] - found[name]["accuracy"]["eager"]) <= 0.005
        assert found[name]["speedup"]["low"] > 0


# --- masks, sparse kernels and bf16 ----------------------------------------------------------------------------------


def masked(dense):
    """The dense networks with every second weight of a layer held at zero."""
    method = registry().configured("prune", "nm", {"exclude": ("0.weight",)})
    return dense.child(prune(method, dense, {}), {})


def test_what_masks_alone_gain_is_said(pair):
    _, dense = pair
    network, lines = masked(dense), []
    held = sum(int((layer.weight == 0).sum()) for layer in network.networks[0] if hasattr(layer, "weight"))
    total = sum(layer.weight.numel() for layer in network.networks[0] if hasattr(layer, "weight"))
    _, found, _ = run(network, dense, Fake(), lines.append)
    assert found["masked_share"] == pytest.approx(held / total)
    assert held / total > 0.4
    assert lines[0].endswith(
        f"; masks alone: {held / total:.0%} of the weights are zeros, and its kernels multiply those too"
    )
    assert "masked_share" not in run(dense, dense, Fake())[1]


def test_a_ratio_of_sparse_kernels_is_not_one_of_masks_alone(pair):
    _, dense = pair
    backend = Fake()
    backend.sparse = 0.5
    _, found, _ = run(masked(dense), dense, backend)
    assert (found["status"], found["sparse_share"], found["kind"]) == ("ok", 0.5, "structure")
    assert "masked_share" not in found
    backend.sparse = 0.0
    _, found, _ = run(dense, dense, backend)
    assert found["status"] == "fake ran none of the network's products on sparse kernels: no layer has their pattern"
    assert "latency_ms" not in found


def test_bf16_is_named_and_compared_by_classes(pair):
    _, dense = pair
    backend = Fake(spoil=lambda logits: logits * 1.01)  # no class changes
    assert "outputs differ from eager by 0.01" in run(dense, dense, backend)[1]["status"]
    backend.arithmetic = "bf16"
    _, found, _ = run(dense, dense, backend)
    assert (found["status"], found["precision"], found["reference_precision"]) == ("ok", "bf16", "bf16")
    assert (found["agreement"], found["kind"]) == (1, "structure")
    backend = Fake(spoil=lambda logits: -logits)
    backend.arithmetic = "bf16"
    assert "outputs differ from eager" in run(dense, dense, backend)[1]["status"]


@pytest.mark.parametrize("name", ["bf16", "autocast"])
def test_bf16_backends_time_both_networks_alike(name, pair):
    _, dense = pair
    backend = registry().configured("backend", name, {})
    if reason := backend.available():
        pytest.skip(reason)
    _, found, _ = run(masked(dense), dense, backend)
    assert found["status"] == "ok"
    assert found["precision"] == found["reference_precision"] == backend.arithmetic
    assert 0 < found["max_error"] < 0.03
    assert found["masked_share"] > 0.4
