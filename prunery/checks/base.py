"""A case to check, the table of checks, and what they share."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from prunery.data import Spec
from prunery.toys import toy_images


@dataclass(frozen=True)
class Case:
    """A method under test: how to make one, the data it is built for, the data folder, and a folder of its own."""

    configured: Callable[[], Any]
    spec: Spec
    folder: Path | None
    tmp: Path


Check = Callable[[Case], None]
CHECKS: dict[str, list[Check]] = {}
"""The checks of each stage, in order."""


def check(*stages: str) -> Callable[[Check], Check]:
    """Register a check for stages."""

    def register(function: Check) -> Check:
        for stage in stages:
            CHECKS.setdefault(stage, []).append(function)
        return function

    return register


def stage_function(stage: str) -> Callable[..., Any]:
    """The library function behind a rule."""
    function: Callable[..., Any] = getattr(import_module(f"prunery.{stage}"), stage)
    return function


def silent(line: str) -> None:
    """Swallow progress."""


def is_json(value: Any) -> None:
    """Fail unless a value can be written as JSON; NaN and infinity cannot."""
    json.dumps(value, allow_nan=False)


def seeded(seed: int = 0) -> torch.Generator:
    """A seeded generator."""
    return torch.Generator().manual_seed(seed)


def outputs(network: nn.Module) -> Tensor:
    """Logits of a toy network, on the CPU, in evaluation mode."""
    inputs = next(toy_images().batches("test", 16))[0]
    with torch.no_grad():
        logits: Tensor = network.cpu().eval()(inputs)
    return logits
