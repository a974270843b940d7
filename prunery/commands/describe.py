"""A setting's type, default and range in words, from its pydantic field."""

from __future__ import annotations

import json
import types
from collections.abc import Iterable
from typing import Any, Literal, Union, get_args, get_origin

WORDS = {float: "number", int: "integer", bool: "true or false", str: "text", type(None): "null", Any: "anything"}
LENGTHS = {"multiple_of": "multiple of {:g}", "min_length": "at least {:g} long", "max_length": "at most {:g} long"}
ENDS = ("ge", "gt", "le", "lt")


def type_text(annotation: Any) -> str:
    """What a value may be.

    >>> type_text(float | None), type_text(Literal["a", "b"]), type_text(tuple[int, ...])
    ('number or null', 'a, b', 'list of integers')
    """
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return ", ".join(map(str, arguments))
    if origin in (Union, types.UnionType):
        return " or ".join(dict.fromkeys(map(type_text, arguments)))
    if origin in (tuple, list):
        return f"list of {type_text(arguments[0])}s"
    if origin is dict:
        return f"mapping to {type_text(arguments[1])}"
    if hasattr(annotation, "__metadata__"):
        return type_text(arguments[0])
    return WORDS.get(annotation) or str(getattr(annotation, "__name__", annotation))


def default_text(field: Any) -> str:
    """The default as the config would spell it."""
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    if isinstance(value, str):
        return value
    return json.dumps(list(value) if isinstance(value, tuple) else value, default=str)


def range_text(field: Any) -> str:
    """The bounds of a field, or of its elements where it is a list.

    >>> from pydantic import Field
    >>> range_text(Field(0.5, ge=0, lt=1)), range_text(Field(1, ge=1))
    ('0 to below 1', '1 or more')
    """
    elements = [f"each {bound}" for bound in _element_bounds(field.annotation)]
    return ", ".join([*_bounds(field.metadata), *elements])


def _element_bounds(annotation: Any) -> list[str]:
    """The bounds of the first annotated type inside a list or an alternative."""
    if hasattr(annotation, "__metadata__"):
        return _bounds(bound for each in annotation.__metadata__ for bound in getattr(each, "metadata", [each]))
    return next((found for inner in get_args(annotation) if (found := _element_bounds(inner))), [])


def _bounds(metadata: Iterable[Any]) -> list[str]:
    """Interval, step and lengths, each in words."""
    names = (*ENDS, *LENGTHS)
    stated = {name: value for each in metadata for name in names if (value := getattr(each, name, None)) is not None}
    interval = [_interval(stated)] if stated.keys() & set(ENDS) else []
    return interval + [words.format(stated[name]) for name, words in LENGTHS.items() if name in stated]


def _interval(stated: dict[str, float]) -> str:
    low = f"{stated['ge']:g}" if "ge" in stated else f"above {stated['gt']:g}" if "gt" in stated else ""
    high = f"{stated['le']:g}" if "le" in stated else f"below {stated['lt']:g}" if "lt" in stated else ""
    if low and high:
        return f"{low} to {high}"
    if low:
        return low if "gt" in stated else f"{low} or more"
    return high if "lt" in stated else f"{high} or less"
