"""In which precision a network computes, as `bench` names it and backends must have kernels for it."""

from __future__ import annotations

from torch import nn

from prunery.formats import is_integer
from prunery.integer import IntegerLayer
from prunery.layers import quantized_layers
from prunery.weightonly import WeightLinear

FOUR_BIT_ACTIVATIONS = "int4"


def kernels(network: nn.Module) -> list[str]:
    """The kinds of kernel a network asks of a backend, beside fp32.

    `int8` and `int4`: weights and activations are integers. `int8 weights`, `int4 weights`: linear layers that read
    such weights. Weights that are only stored in fewer bits ask for none.
    """
    found = set()
    for _, layer in quantized_layers(network):
        if isinstance(layer, IntegerLayer):
            found.add(f"int{layer.bits}")
        elif isinstance(layer, WeightLinear) and is_integer(layer.format):
            found.add(f"{layer.format} weights")
    return sorted(found)


def precision(network: nn.Module) -> str:
    """What to call a network's precision: its kernels, else fp32 and what its weights are stored as, if otherwise."""
    if kinds := kernels(network):
        return " and ".join(kinds)
    stored = sorted({layer.format for _, layer in quantized_layers(network)})
    return f"fp32 ({', '.join(stored)} storage only)" if stored else "fp32"
