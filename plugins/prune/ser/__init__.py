"""SER: prune too much, train what went, restore what learned most."""

from __future__ import annotations

from typing import final

from prunery import hookimpl
from prunery.restoring import Restorer


@final
class Ser(Restorer):
    """Spectral edge budgeting with restoration, at any sparsity."""

    name = "ser"


@hookimpl
def register_methods() -> list[type]:
    """The methods of this plugin."""
    return [Ser]
