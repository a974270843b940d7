"""What a method reads of the networks before it, as `Method.needs` spells it. Imports no torch.

`calibrate=activations` is a measurement of the parent network, `dense:spectral_fit=mp` one of the recipe's dense one.
`history:evaluate=standard` are the evaluations of every network on the way to the parent, the dense one first.
"""

from __future__ import annotations

from dataclasses import dataclass

from prunery.errors import PruneryError

HISTORY, DENSE = "history:", "dense:"
PARENT = ("calibrate", "spectral_fit")
"""Measures whose findings lie beside the parent network, or the dense one."""


@dataclass(frozen=True)
class Need:
    """A variant of a measure: of the parent, of its whole history, or of the dense network."""

    stage: str
    variant: str
    history: bool = False
    dense: bool = False


def parse_need(text: str) -> Need:
    """A need as it is spelled. Raises `PruneryError` if it names no measure that can be read."""
    stage, _, variant = text.removeprefix(HISTORY).removeprefix(DENSE).partition("=")
    need = Need(stage, variant, text.startswith(HISTORY), text.startswith(DENSE))
    if not variant or stage not in (("evaluate",) if need.history else PARENT):
        raise PruneryError(
            f"it needs {text!r}, which is no measurement: its method should say calibrate=activations, "
            "dense:spectral_fit=mp or history:evaluate=standard"
        )
    return need
