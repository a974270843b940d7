"""2:4 networks on sparse tensor cores: ViT-B/16, DeiT-S and ResNet-50 shapes, each beside its dense controls.

Values are random: times do not depend on them. All endpoints of a network run the same weights, pruned 2:4 by magnitude
(classifier and stem excepted), on random normal images of 224 pixels: 20 calls to warm up, 100 timed by CUDA events,
medians. Three kinds of running are told apart, and ratios never mix them up: dense in bf16, dense in fp32 under bf16
autocast, and sparse in bf16. Beside them stand dense bf16 in channels-last memory, unfolded convolutions with dense
products, and sparse kernels on 1 x 1 convolutions alone (networks with convolutions). Transformers come once more with
tokens merged, beside dense controls that merge too.

Without a GPU that has such cores nothing is timed, and one line says so.
"""

from __future__ import annotations

import copy
import json
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from statistics import median
from typing import Any

import torch
from common import Verdict, conclude_all, parser
from prunery_plugins.backend.semi_structured.core import compress, compressed, without_kernels, working
from prunery_plugins.backend.semi_structured.rows import RowConv2d, RowLinear
from torch import Tensor, nn

from prunery.checkpoint import Checkpoint, Origin, Replica
from prunery.data import Spec
from prunery.edits import replay
from prunery.encoders import encoder_blocks
from prunery.halves import cast, placed
from prunery.layers import layer_of
from prunery.machine import machine
from prunery.merging import merge_edit
from prunery.prune import prune
from prunery.registry import registry
from prunery.sizes import macs

NETWORKS = {
    "ViT-B/16": "vit_base_patch16_224",
    "DeiT-S": "deit_small_patch16_224",
    "ResNet-50": "resnet50",
}
SPEC = Spec("image", (3, 224, 224), 1000)
WARMUP, TIMED, MERGED = 20, 100, 8
EXCLUDED = {"ResNet-50": ("fc.weight",)}
TARGET = 1.0
"""Throughput of sparse bf16 over dense bf16: less means that sparsity is no gain at all."""


@dataclass(frozen=True)
class Endpoint:
    """A way to run a network; `sparse` says how many of its layers are on sparse kernels."""

    network: nn.Module
    context: Callable[[], AbstractContextManager[object]] = nullcontext
    input: Callable[[Tensor], Tensor] = placed
    sparse: int = 0
    dense: dict[str, str] = field(default_factory=dict)
    """Why other layers are not among them, by key."""

    def __call__(self, inputs: Tensor) -> Tensor:
        """Logits, perhaps not finished yet."""
        with self.context():
            logits: Tensor = self.network(inputs)
        return logits


def pruned(name: str) -> nn.Module:
    """A network with two of four in every layer that takes part."""
    architecture: Any = registry().configured("model", "timm", {"name": NETWORKS[name]})
    torch.manual_seed(0)
    parent = Checkpoint(Origin(*architecture.origin(), SPEC), {0: Replica(architecture.build(SPEC).eval())})
    method: Any = registry().configured("prune", "nm", {"exclude": EXCLUDED.get(name, ("head.weight",))})
    return prune(method, parent, {})[0].network


def with_merged_tokens(network: nn.Module) -> nn.Module:
    """A transformer that merges tokens in every block."""
    edit = merge_edit(network, SPEC.random(1, torch.Generator().manual_seed(0)), MERGED)
    return replay(copy.deepcopy(network), [edit])


def endpoints(network: nn.Module) -> Iterator[tuple[str, Callable[[], Endpoint]]]:
    """By name, how to make each; one is on the GPU at a time."""
    keys = [key for key, count in macs(network, SPEC).items() if count]
    convolutions = [key for key in keys if isinstance(layer_of(network, key), nn.Conv2d)]
    only = [key for key in keys if key not in convolutions or layer_of(network, key).kernel_size == (1, 1)]
    yield (
        "dense autocast",
        lambda: Endpoint(
            copy.deepcopy(network).cuda(), lambda: torch.autocast("cuda", torch.bfloat16), lambda inputs: inputs.cuda()
        ),
    )
    yield "dense bf16", lambda: Endpoint(cast(network))
    for kernel in working():
        yield f"sparse bf16, {kernel}", lambda kernel=kernel: sparse(network, keys, kernel)  # type: ignore[misc]
    if len(convolutions) > 1:  # one is the stem of a transformer
        yield "dense bf16, channels last", lambda: channels_last(network)
        yield "dense bf16, unfolded", lambda: unfolded(network, keys)
        for kernel in working():
            yield f"sparse bf16, 1x1 only, {kernel}", lambda kernel=kernel: sparse(network, only, kernel)  # type: ignore[misc]


def sparse(network: nn.Module, keys: Iterable[str], kernel: str) -> Endpoint:
    """Layers with the pattern on sparse kernels; the others stay dense."""
    ready = cast(network)
    dense = compress(ready, keys, lambda matrix: compressed(matrix, kernel))
    count = sum(isinstance(layer, RowLinear | RowConv2d) for layer in ready.modules())
    return Endpoint(ready, sparse=count, dense=dense)


def unfolded(network: nn.Module, keys: Iterable[str]) -> Endpoint:
    """The same products of rows with dense matrices."""
    ready = cast(network)
    compress(ready, keys, lambda matrix: matrix)
    return Endpoint(ready)


def channels_last(network: nn.Module) -> Endpoint:
    """The memory layout in which dense convolutions are fastest."""
    ready = cast(network).to(memory_format=torch.channels_last)
    return Endpoint(ready, input=lambda inputs: placed(inputs).contiguous(memory_format=torch.channels_last))


def milliseconds(call: Callable[[], Any]) -> float:
    """Median time of a call on the GPU."""
    for _ in range(WARMUP):
        call()
    pairs = [[torch.cuda.Event(enable_timing=True) for _ in range(2)] for _ in range(TIMED)]
    for start, end in pairs:
        start.record()
        call()
        end.record()
    torch.cuda.synchronize()
    return median(start.elapsed_time(end) for start, end in pairs)


@torch.inference_mode()
def measured(network: nn.Module, batch: int) -> dict[str, dict[str, Any]]:
    """Figures of every endpoint; `error` is the largest difference to fp32 logits, in units of the largest logit."""
    inputs = torch.randn(batch, *SPEC.shape, generator=torch.Generator().manual_seed(0))
    wanted, found = copy.deepcopy(network).cuda()(inputs.cuda()).float(), {}
    for name, make in endpoints(network):
        endpoint = make()
        ready = endpoint.input(inputs)
        time = milliseconds(lambda: endpoint(ready))  # noqa: B023 - called before the next one is made
        error = float((endpoint(ready).float() - wanted).abs().max() / wanted.abs().max())
        figures = {"milliseconds": time, "images_per_second": 1000 * batch / time, "error": error}
        found[name] = figures | {"sparse_layers": endpoint.sparse, "dense_layers": endpoint.dense}
        print(f"  {name}: {time:.2f} ms, {1000 * batch / time:,.0f} images/s, error {error:.2g}", flush=True)
        del endpoint
        torch.cuda.empty_cache()
    return found


def ratios(figures: dict[str, dict[str, Any]]) -> dict[str, float]:
    """Throughput of the best sparse endpoint over each dense one."""
    speed = {name: row["images_per_second"] for name, row in figures.items()}
    best = max((value for name, value in speed.items() if name.startswith("sparse")), default=0.0)
    return {f"sparse bf16 / {name}": best / value for name, value in speed.items() if name.startswith("dense")}


def subjects(names: Iterable[str]) -> Iterator[tuple[str, nn.Module]]:
    """The networks, and transformers once more with merged tokens."""
    for name in names:
        network = pruned(name)
        yield name, network
        if encoder_blocks(network):
            yield f"{name} with {MERGED} tokens merged", with_merged_tokens(network)


def main() -> None:
    command = parser(__doc__)
    command.add_argument("--batch", type=int, nargs="+", default=[64, 128, 256], metavar="N", help="images per call")
    command.add_argument("--network", nargs="+", choices=NETWORKS, default=list(NETWORKS), help="which shapes")
    told = command.parse_args()
    if reason := without_kernels():
        print(f"nothing was timed: {reason}")
        if told.json:
            told.json.write_text(json.dumps({"reason": reason}) + "\n", encoding="utf-8")
        sys.exit(0)
    torch.backends.cudnn.benchmark = True
    figures: dict[str, Any] = {}
    verdicts = []
    for name, network in subjects(told.network):
        for batch in told.batch:
            case = f"{name}, batch {batch}"
            print(case, flush=True)
            rows = measured(network, batch)
            compared = ratios(rows)
            print(*(f"  {pair}: {ratio:.2f}x" for pair, ratio in compared.items()), sep="\n")
            figures[case] = {"endpoints": rows, "ratios": compared}
            verdicts.append(
                Verdict(f"{case}: sparse over dense, both bf16", compared["sparse bf16 / dense bf16"], TARGET)
            )
    gpu = torch.cuda.get_device_name()
    conclude_all(verdicts, {"gpu": gpu, "machine": machine(1, ["torch", "timm"]), "figures": figures}, told.json)


if __name__ == "__main__":
    main()
