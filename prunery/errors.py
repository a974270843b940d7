"""The one exception that reaches a user: one clear line, no traceback."""

from collections.abc import Iterable
from difflib import get_close_matches


class PruneryError(Exception):
    """A mistake in the input, said in one line that names the culprit and the remedy."""

    def __str__(self) -> str:
        return " ".join(super().__str__().split())


def unknown(kind: str, name: str, known: Iterable[str]) -> str:
    """The line for a name that does not exist, with the nearest one that does.

    >>> unknown("prune method", "magnitud", ["magnitude", "random"])
    "unknown prune method 'magnitud': did you mean 'magnitude'?"
    """
    known = sorted(known)
    near = get_close_matches(name, known, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(known) or 'none'}"
    return f"unknown {kind} {name!r}: {hint}"
