"""Scales of batch norms, and layers without one."""

import torch

from prunery import Layer
from prunery.registry import registry


def test_the_absolute_scale_or_nothing():
    method, weight = registry().configured("score", "bn_scale", {}), torch.ones(3, 2)
    layer = Layer("fc.weight", weight, norm_scale=torch.tensor([-2.0, 0.0, 1.0]))
    assert method.score(layer, torch.Generator()).tolist() == [2.0, 0.0, 1.0]
    assert method.score(Layer("fc.weight", weight), torch.Generator()) is None
