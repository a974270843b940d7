"""Eager's copy of the network."""

import torch
from prunery_plugins.backend.eager.core import eager
from torch import nn


def test_it_runs_a_copy_in_evaluation_mode_without_gradients():
    network = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5)).train()
    inputs = torch.randn(3, 4)
    run = eager(network, 1)
    wanted = network[0](inputs).detach()
    assert torch.allclose(run(inputs).cpu(), wanted, atol=1e-6)
    assert not run(inputs).requires_grad
    assert network.training
    nn.init.zeros_(network[0].weight)
    assert torch.allclose(run(inputs).cpu(), wanted, atol=1e-6)
