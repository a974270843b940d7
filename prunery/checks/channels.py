"""What is asked of methods that choose channels, and of scores."""

from __future__ import annotations

import torch

from prunery import toys
from prunery.checks.base import Case, check, outputs, seeded
from prunery.contract import ChannelPruner, Layer
from prunery.coupling.ranking import channel_layers
from prunery.coupling.structure import structure_of
from prunery.layers import compressible
from prunery.prune import prune


@check("score")
def scores_are_numbers_per_channel(case: Case) -> None:
    """Finite, one per output channel, the same twice; or none of a layer. The layer is untouched."""
    method, checkpoint = case.configured(), toys.toy_checkpoint((0,), masked=True)
    measured = toys.measured_by(method, checkpoint)[0]
    network, samples = checkpoint.networks[0], checkpoint.origin.spec.example(2)
    found = channel_layers(network, structure_of(network, samples), measured, samples)
    spoken = 0
    for key, module in compressible(network):
        weight = module.get_parameter("weight").detach()
        scale = torch.linspace(-1, 1, len(weight))
        rows = found[key].measured if key in found else {variant: each[key] for variant, each in measured.items()}
        layer = Layer(key, weight, module.get_parameter("bias").detach(), scale, rows)
        before = weight.clone()
        first, second = (method.score(layer, seeded(0)) for _ in range(2))
        assert torch.equal(weight, before), f"{key} was changed"
        if first is not None:
            spoken += 1
            assert first.shape == (len(weight),), key
            assert first.isfinite().all(), key
            assert torch.equal(first, second), f"{key}: two runs differ"
    assert spoken, "it says nothing of any layer"


@check("prune")
def channels_are_chosen_by_group(case: Case) -> None:
    """A method that chooses channels: through the stage the network shrinks, or holds as many at zero."""
    method = case.configured()
    if not isinstance(method, ChannelPruner):
        return  # `prunery.checks.transforms` asks
    parent = toys.toy_checkpoint(masked=True)
    for seed, replica in prune(method, parent, toys.measured_by(method, parent)).items():
        before, after = (
            sum(parameter.numel() for parameter in network.parameters())
            for network in (parent.replicas[seed].network, replica.network)
        )
        assert after == before if method.zeroes else after < before
        assert outputs(replica.network).shape == outputs(parent.replicas[seed].network).shape
        assert [edit["edit"] for edit in replica.edits][-1] == ("mask" if method.zeroes else "channels")
