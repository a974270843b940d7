"""Cards and descriptions spell what is not set as a config does: null, [] and {}, never none."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from prunery.registry import registry

ROOT = Path(__file__).parents[1]
EMPTY = {None: "null", (): "[]"}
METHODS = sorted(registry().methods.items())


def unset(method):
    """Field -> how a config spells its default, of those that are unset unless a user sets them."""
    defaults = {
        name: field.get_default(call_default_factory=True) for name, field in method.Settings.model_fields.items()
    }
    found = {name: "{}" for name, default in defaults.items() if default == {} and isinstance(default, dict)}
    return found | {name: EMPTY[default] for name, default in defaults.items() if default is None or default == ()}


def cells(card, field):
    """The row of a card's table of settings that tells of a field, backticks left out; none if it has no row."""
    rows = (re.split(r"(?<!\\)\|", line)[1:-1] for line in card.splitlines() if line.startswith("|"))
    found = ([cell.strip().strip("`") for cell in row] for row in rows)
    return next((row for row in found if row[0] == field), [])


@pytest.mark.parametrize(
    ("place", "method"), METHODS, ids=lambda value: "=".join(value) if isinstance(value, tuple) else ""
)
def test_what_is_not_set_is_spelt_as_in_a_config(place, method):
    card = ROOT / "plugins" / place[0] / place[1] / "README.md"
    for field, spelling in unset(method).items():
        description = method.Settings.model_fields[field].description or ""
        assert not re.search(r"\bnone(:| =)", description), f"{field}: {description}"
        if row := cells(card.read_text(encoding="utf-8"), field) if card.exists() else []:
            assert "none" not in row, f"{card}: the default of {field} is {spelling}"
            assert not re.search(r"(?<!`)\bnone\b(:| =|,)", " ".join(row)), f"{card}, {field}"
