"""What differs between two accounts of one job: its settings, its method, the code and the versions behind it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

ABSENT = "none"
PLAIN = ("method", "variant", "seeds", "floor", "distribution", "root", "profile", "title")
CODE = {
    "fingerprint": ("code of the method {method}", "its files, or what they import"),
    "code": ("code of the stage {stage}", "its script, or the library behind it"),
}


class Change(NamedTuple):
    """One difference; of code, `before` and `now` are digests and `note` says which files they cover."""

    what: str
    before: str
    now: str
    note: str = ""

    def __str__(self) -> str:
        if self.note:
            return f"the {self.what} has changed ({self.note})"
        return f"the {self.what} was {self.before}, is {self.now}"


def changes(before: Mapping[str, Any], now: Mapping[str, Any], whose: str = "") -> list[Change]:
    """The differences between what a job was told and what it would be told; `whose` stands behind each.

    Settings, code and versions of another method are not compared one by one: that it is another one says it.
    """
    found = _differing({name: (before.get(name), now.get(name)) for name in PLAIN}, "{}", whose)
    if before.get("method") == now.get("method"):
        settings = _pairs(_flat(before.get("settings", {})), _flat(now.get("settings", {})))
        found += _differing(settings, "setting {}", whose)
        version = {str(now.get("distribution")): (before.get("version"), now.get("version"))}
        versions = _pairs(before.get("versions", {}), now.get("versions", {}))
        found += _differing(version | versions, "version of {}", whose)
        found += _code("fingerprint", before, now, whose)
    found += _code("code", before, now, whose)
    if "model" in before and "model" in now:
        found += changes(before["model"], now["model"], f" of the model {now['model']['method']}")
    found += _company(dict(before.get("together", ())), dict(now.get("together", ())))
    return found + _backends(before.get("backends", ()), now.get("backends", ()))


def _company(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[Change]:
    """Who trains together, and with what settings of their models."""
    found = _differing({"company": (", ".join(before) or None, ", ".join(now) or None)}, "bases trained by one job", "")
    for name in before.keys() & now.keys():
        found += _differing(_pairs(_flat(before[name]), _flat(now[name])), "setting {}", f" of the model {name}")
    return found


def _backends(before: Any, now: Any) -> list[Change]:
    """The backends of a bench, by name."""
    first, second = ({told["method"]: told for told in side} for side in (before, now))
    found = []
    for name in first.keys() & second.keys():
        found += changes(first[name], second[name], f" of the backend {name}")
    return sorted(found)


def _code(key: str, before: Mapping[str, Any], now: Mapping[str, Any], whose: str) -> list[Change]:
    if before.get(key) == now.get(key) or not (before.get(key) and now.get(key)):
        return []
    what, note = CODE[key]
    named = f"code{whose}" if whose else what.format(method=now.get("method"), stage=now.get("stage"))
    return [Change(named, before[key][:12], now[key][:12], note)]


def _differing(pairs: Mapping[str, tuple[Any, Any]], name: str, whose: str) -> list[Change]:
    return [
        Change(name.format(key) + whose, _shown(before), _shown(now))
        for key, (before, now) in pairs.items()
        if before != now
    ]


def _pairs(before: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    return {name: (before.get(name), now.get(name)) for name in sorted({*before, *now})}


def _flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings by their dotted names."""
    flat: dict[str, Any] = {}
    for name, value in settings.items():
        nested = isinstance(value, Mapping) and bool(value)
        flat |= _flat(value, f"{prefix}{name}.") if nested else {prefix + name: value}
    return flat


def _shown(value: Any) -> str:
    return ABSENT if value is None else str(value)
