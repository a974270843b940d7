"""The cast copy, its inputs, and that it answers in fp32."""

import pytest
import torch
from torch import nn

from prunery.registry import registry


@pytest.fixture
def backend():
    found = registry().configured("backend", "bf16", {})
    if reason := found.available():
        pytest.skip(reason)
    return found


def test_products_are_rounded_to_bf16(backend, tmp_path):
    network, inputs = nn.Linear(64, 8), torch.randn(4, 64, generator=torch.Generator().manual_seed(0))
    seen = []
    hook = nn.modules.module.register_module_forward_hook(lambda layer, given, out: seen.append((given[0], out)))
    found = backend.prepare(network, inputs, tmp_path, 1)(backend.place(inputs)).cpu()
    hook.remove()
    assert [(given.dtype, out.dtype) for given, out in seen] == [(torch.bfloat16, torch.bfloat16)]
    assert network.weight.dtype == torch.float32
    assert found.dtype == torch.float32
    assert torch.equal(found, found.bfloat16().float())
    error = float((found - network(inputs).detach()).abs().max())
    assert 0 < error < 0.03


def test_token_ids_are_not_cast(backend, tmp_path):
    network, tokens = nn.Sequential(nn.Embedding(9, 4), nn.Flatten(), nn.Linear(12, 2)), torch.tensor([[1, 8, 3]])
    assert backend.place(tokens).dtype == torch.int64
    found = backend.prepare(network, tokens, tmp_path, 1)(backend.place(tokens)).cpu()
    torch.testing.assert_close(found, network(tokens).detach(), rtol=0.03, atol=0.03)
