"""How large a network is: parameters, zeros, bits as stored, multiply-accumulates of one sample."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from prunery.data import Spec
from prunery.layers import compressible, quantized_layers
from prunery.patterns import layer_pattern
from prunery.stored import StoredWeight

MASK = "/mask"


def sizes(network: nn.Module, spec: Spec) -> dict[str, Any]:
    """All sizes of one network, as JSON.

    - `parameters`: parameters (shared ones once) and quantized weights, but no scales, masks or batch-norm statistics;
      `nonzero`: those of them that are not zero.
    - `sparsity`: zeros over all parameters. `weight_sparsity`: zeros over the weights of `Linear` and `Conv2d` layers,
      quantized ones included.
    - `bits`: of everything stored, in its own dtype, scales and batch-norm statistics included; masks only under
      `mask_bits`.
    - `macs`: multiply-accumulates of one sample in `Linear` and `Conv2d` layers, zeros included; products of two
      activations, as in attention, are no layers.
    - `macs_pattern`: the same, where layers in which exactly k of every n neighbouring inputs of each output are alive
      (`prunery.patterns`; such layers have a `pattern`, 2:4 say) count k/n of theirs: what hardware made for patterns
      computes. Any other sparsity counts in full.
    - `layers`: by key of the weight the same for that weight alone; `bits` with its scales, `dtype` the format of
      quantized ones.
    """
    layers = layer_sizes(network, spec)
    values = _values(network)
    total, nonzero = sum(v.numel() for v in values), sum(_nonzero(v) for v in values)
    weights, alive = (sum(layer[name] for layer in layers.values()) for name in ("parameters", "nonzero"))
    stored = network.state_dict()
    return {
        "parameters": total,
        "nonzero": nonzero,
        "sparsity": _share(total - nonzero, total),
        "weight_sparsity": _share(weights - alive, weights),
        "bits": sum(_bits(value) for key, value in stored.items() if not key.endswith(MASK)),
        "mask_bits": sum(_bits(value) for key, value in stored.items() if key.endswith(MASK)),
        "macs": sum(layer["macs"] for layer in layers.values()),
        "macs_pattern": sum(layer["macs_pattern"] for layer in layers.values()),
        "layers": layers,
    }


def layer_sizes(network: nn.Module, spec: Spec) -> dict[str, dict[str, Any]]:
    """Sizes of each compressible weight, quantized or not, by key."""
    counts, stored = macs(network, spec), network.state_dict()
    found = {}
    for key, layer in _layers(network):
        weight = _weight(layer)
        parts = [value for name, value in stored.items() if name == key or name.startswith(f"{key}/")]
        masks, pattern = stored.get(f"{key}{MASK}"), layer_pattern(layer, weight)
        found[key] = {
            "parameters": weight.numel(),
            "nonzero": _nonzero(weight),
            "sparsity": _share(weight.numel() - _nonzero(weight), weight.numel()),
            "bits": sum(map(_bits, parts)) - (0 if masks is None else _bits(masks)),
            "dtype": layer.format if isinstance(layer, StoredWeight) else str(weight.dtype).removeprefix("torch."),
            "macs": counts[key],
            "macs_pattern": counts[key] if pattern is None else counts[key] * pattern[0] // pattern[1],
        } | ({} if pattern is None else {"pattern": "{}:{}".format(*pattern)})
    return found


def macs(network: nn.Module, spec: Spec) -> dict[str, int]:
    """Multiply-accumulates of one sample by key of the weight: outputs times inputs per output, over all its calls.

    That is C_out * H_out * W_out * (C_in / groups) * k_h * k_w for convolutions and tokens * in * out for linear maps.
    Layers whose weight is used without calling them (`nn.MultiheadAttention`) count 0.
    """
    return macs_of(network, spec.example(1))


def macs_of(network: nn.Module, sample: Tensor) -> dict[str, int]:
    """The same for a batch of one sample."""
    counts: Counter[str] = Counter()
    device = next((value.device for value in network.state_dict().values()), torch.device("cpu"))
    with ExitStack() as hooks, _evaluating(network), torch.no_grad():
        for key, layer in _layers(network):
            hooks.callback(layer.register_forward_hook(_counting(counts, key)).remove)
        network(sample.to(device))
    return {key: counts[key] for key, _ in _layers(network)}


def _counting(counts: Counter[str], key: str) -> Any:
    def count(layer: nn.Module, inputs: Any, output: Tensor) -> None:
        counts[key] += output.numel() * _weight(layer)[0].numel()

    return count


def _layers(network: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    yield from compressible(network)
    yield from quantized_layers(network)


def _values(network: nn.Module) -> list[Tensor]:
    return [*network.parameters(), *(layer.stored() for _, layer in quantized_layers(network))]


def _weight(layer: nn.Module) -> Tensor:
    """The weight of a layer, one value for each of its numbers."""
    return layer.stored() if isinstance(layer, StoredWeight) else layer.get_parameter("weight")


def _nonzero(value: Tensor) -> int:
    return int(torch.count_nonzero(value))


def _bits(value: Tensor) -> int:
    return value.numel() * value.element_size() * 8


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 0.0


@contextmanager
def _evaluating(network: nn.Module) -> Iterator[None]:
    """Evaluation mode; afterwards the mode it had before."""
    training = network.training
    try:
        network.eval()
        yield
    finally:
        network.train(training)
