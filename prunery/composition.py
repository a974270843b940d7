"""Which steps may stand behind which, as the methods declare it; checked before any job starts."""

from __future__ import annotations

from collections.abc import Sequence

from prunery.contract import TRANSFORMS, Method
from prunery.errors import PruneryError


def check_order(methods: Sequence[Method]) -> None:
    """Check a recipe's methods in order: its base's training, if given, and its steps.

    A rule is spelled `stage` or `stage=method`; variants of a method are that method. Raises `PruneryError` naming both
    steps, or what is missing.
    """
    for place, method in enumerate(methods):
        earlier = methods[:place]
        for rule in method.conflicts:
            if any(_meets(rule, other) for other in earlier):
                raise PruneryError(
                    f"{_spelled(method)} may not stand after {rule}: put it before, or drop one of the two"
                )
        if method.follows and not any(_meets(rule, other) for rule in method.follows for other in earlier):
            remedy = f"add that step before it{', or train the base so' if _trains(method.follows) else ''}"
            raise PruneryError(f"{_spelled(method)} must stand after {' or '.join(method.follows)}: {remedy}")


def check_rules(method: type[Method]) -> None:
    """Check that a method's rules name stages that are steps, or `train`. Raises `PruneryError` naming the rule."""
    known = ("train", *TRANSFORMS)
    for rule in (*method.follows, *method.conflicts):
        if rule.partition("=")[0] not in known:
            raise PruneryError(f"its rule {rule!r} names no step: write one of {', '.join(known)}, or stage=method")


def _meets(rule: str, method: Method) -> bool:
    return rule in (method.stage, _spelled(method))


def _trains(rules: Sequence[str]) -> bool:
    return any(rule.partition("=")[0] == "train" for rule in rules)


def _spelled(method: Method) -> str:
    return f"{method.stage}={method.name}"
