"""From a checkpoint's folder to networks that run."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from prunery.checkpoint import Checkpoint, Origin, load
from prunery.contract import Architecture
from prunery.layers import copyable
from prunery.registry import Registry, registry


def architecture(origin: Origin, methods: Registry | None = None) -> Architecture:
    """The `Architecture` that builds the networks of `origin`."""
    method = (methods or registry()).configured("model", origin.model, origin.settings)
    assert isinstance(method, Architecture)
    return method


def build(origin: Origin) -> nn.Module:
    """The bare network; its values are to be overwritten, so torch's generator is left as it was."""
    with torch.random.fork_rng(devices=[]):
        return copyable(architecture(origin).build(origin.spec))


def load_checkpoint(folder: Path) -> Checkpoint:
    """The checkpoint in `folder`, networks in evaluation mode on the CPU."""
    checkpoint = load(folder, build)
    for network in checkpoint.networks:
        network.eval()
    return checkpoint


def device() -> torch.device:
    """Where networks run: the GPU if there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
