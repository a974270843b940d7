"""Weights stay in fp32, products are computed in bf16, answers are fp32."""

import pytest
import torch
from torch import nn

from prunery.registry import registry


def test_products_are_in_bf16_and_weights_are_not(tmp_path):
    backend = registry().configured("backend", "autocast", {})
    if reason := backend.available():
        pytest.skip(reason)
    network, inputs = nn.Linear(64, 8), torch.randn(4, 64, generator=torch.Generator().manual_seed(0))
    seen = []
    hook = nn.modules.module.register_module_forward_hook(lambda layer, given, out: seen.append((layer, given[0], out)))
    run = backend.prepare(network, inputs, tmp_path, 1)
    found = run(backend.place(inputs)).cpu()
    hook.remove()
    [(layer, given, out)] = seen
    assert (layer.weight.dtype, given.dtype, out.dtype) == (torch.float32, torch.float32, torch.bfloat16)
    assert found.dtype == torch.float32
    assert 0 < float((found - network(inputs).detach()).abs().max()) < 0.03
    assert not torch.is_autocast_enabled(given.device.type)
