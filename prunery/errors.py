"""The one exception that reaches a user: one clear line, no traceback."""

import re
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any

WIDEST = 80
"""Characters of a user's value that an error repeats."""
LONGEST = 900
"""Characters of a line; of a longer one the middle is left out."""
MOST = 30
"""Valid names that an error lists."""


class PruneryError(Exception):
    """A mistake in the input, said in one line that names the culprit and the remedy."""

    def __str__(self) -> str:
        line = " ".join(super().__str__().split())
        return line if len(line) <= LONGEST else f"{line[: LONGEST // 2]} ... {line[-LONGEST // 2 :]}"


def unknown(kind: str, name: str, known: Iterable[str]) -> str:
    """The line for a name that does not exist, with the nearest one that does.

    >>> unknown("prune method", "magnitud", ["magnitude", "random"])
    "unknown prune method 'magnitud': did you mean 'magnitude'?"
    """
    known = sorted(known)
    near = get_close_matches(name, known, n=1)
    more = ", ..." if len(known) > MOST else ""
    hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(known[:MOST]) or 'none'}{more}"
    return f"unknown {kind} {shown(name)}: {hint}"


def shown(value: Any) -> str:
    """A value as it was given, cut off where it is long.

    >>> shown([1.5]), len(shown("x" * 1000))
    ('[1.5]', 80)
    """
    return cut(repr(value), WIDEST)


def cut(text: str, widest: int = 200) -> str:
    """A text of at most so many characters, with dots where some are left out."""
    return text if len(text) <= widest else f"{text[: widest - 3]}..."


def complaint(found: Mapping[str, Any]) -> str:
    """What pydantic says of a value (an entry of `ValidationError.errors()`), in words of a config, and the value.

    >>> complaint({"msg": "Input should be a valid dictionary or instance of Base", "input": 3})
    'it should be a mapping of keys to values (given: 3)'
    """
    text = re.sub(r" or instance of \w+", "", found["msg"]).removeprefix("Value error, ")
    text = text.replace("a valid dictionary", "a mapping of keys to values").replace("a valid string", "text")
    text = re.sub("^(Input|String|List|Tuple|Dictionary) should", "it should", text)
    return f"{text} (given: {shown(found['input'])})"
