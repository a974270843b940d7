"""List the methods, or print the card and the settings of one.

prunery methods                   all methods, by stage
prunery methods prune             those of one stage
prunery methods magnitude         one method (all of that name)
prunery methods prune=magnitude   one method of one stage
"""

from __future__ import annotations

import argparse
import inspect
from pathlib import Path
from typing import Any

from prunery.commands.describe import default_text, range_text, type_text
from prunery.commands.text import paragraph, table
from prunery.contract import BASES, Method
from prunery.errors import PruneryError, unknown
from prunery.registry import Registry, build_registry


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    parser.add_argument("name", nargs="?", help="a method, a stage, or STAGE=METHOD")
    parser.add_argument("--plugins", action="append", default=[], metavar="FOLDER", help="also those of this folder")


def run(options: argparse.Namespace) -> int:
    """Print the list or the description."""
    registry = build_registry(tuple(options.plugins))
    if options.name is None or options.name in BASES:
        print("\n\n".join(_listing(registry, options.name)))
    else:
        print("\n\n\n".join(describe(registry, *key) for key in _found(registry, options.name)))
    return 0


def _listing(registry: Registry, only: str | None) -> list[str]:
    """A paragraph per stage, and one for the plugins that were set aside."""
    stages = [only] if only else [stage for stage in BASES if registry.names(stage)]
    width = max((len(name) for _, name in registry.methods), default=0)
    parts = []
    for stage in stages:
        rows = [[name.ljust(width), *_line(registry, stage, name)] for name in registry.names(stage)]
        parts.append("\n".join([stage, *([table(rows, "  ")] if rows else ["  no method"])]))
    if registry.broken:
        reasons = [paragraph(f"{plugin}: {why}", "  ") for plugin, why in sorted(registry.broken.items())]
        parts.append("\n".join(["set aside, since they cannot be used", *reasons]))
    return parts


def _line(registry: Registry, stage: str, name: str) -> tuple[str, str]:
    """Where a method comes from (of a folder, its last name), and what it does."""
    kind, _, folder = registry.distributions[stage, name][0].partition(" ")
    origin = f"{kind} {Path(folder).name}" if folder else _origin(registry, stage, name)
    return origin, _summary(registry.methods[stage, name])


def _origin(registry: Registry, stage: str, name: str) -> str:
    distribution, version = registry.distributions[stage, name]
    return distribution if distribution.startswith("folder ") else f"{distribution} {version}"


def _summary(method: type[Method]) -> str:
    return (inspect.getdoc(method) or "").partition("\n")[0]


def _found(registry: Registry, name: str) -> list[tuple[str, str]]:
    """The (stage, name) that a name stands for. Raises `PruneryError` offering the nearest one."""
    stage, given, short = name.partition("=")
    if given:
        if stage not in BASES:
            raise PruneryError(unknown("stage", stage, BASES))
        registry.get(stage, short)
        return [(stage, short)]
    if found := [(stage, name) for stage in BASES if (stage, name) in registry.methods]:
        return found
    raise PruneryError(unknown("method", name, {*BASES, *(name for _, name in registry.methods)}) + registry.set_aside)


def describe(registry: Registry, stage: str, name: str) -> str:
    """A method's card in short: what it does, its settings, what stands before it, where its code lies."""
    method = registry.methods[stage, name]
    source = Path(inspect.getfile(method))
    parts = [f"{stage}={name}, of {_origin(registry, stage, name)}", paragraph(_what_it_does(method, source))]
    if fields := method.Settings.model_fields:
        rows = [_setting(key, field) for key, field in fields.items()]
        parts.append(table([["setting", "type", "default", "range", "what it is"], *rows], widest=20))
    return "\n\n".join([*parts, table(_facts(method, source))])


def _what_it_does(method: type[Method], source: Path) -> str:
    """The first paragraph of that section of the method's card, else its docstring."""
    card = _card(source)
    text = card.read_text("utf-8") if card.exists() else ""
    section = text.partition("## What it does\n")[2].partition("\n## ")[0]
    first = section.strip().partition("\n\n")[0]
    if first.endswith(":"):  # it announces a list
        first = first.rpartition(". ")[0] + "."
    return first or inspect.getdoc(method) or ""


def _card(source: Path) -> Path:
    return source.parent / "README.md"


def _setting(name: str, field: Any) -> list[str]:
    return [name, type_text(field.annotation), default_text(field), range_text(field), field.description or ""]


def _facts(method: type[Method], source: Path) -> list[list[str]]:
    """What else there is to know, in a row each; what does not apply is left out."""
    amount, argument = method.Settings.amount, method.Settings.argument
    shown = {
        "amount": f"{method.stage}={method.name}@... sets {amount}" if amount else "",
        "argument": f"{method.stage}: {method.name}:... sets {argument}" if argument else "",
        "needs": _needs(method),
        "follows": " or ".join(method.follows),
        "conflicts": ", ".join(f"not after {step}" for step in method.conflicts),
        "changes": ", ".join(method.changes),
        "agreement": "" if method.agreement is None else f"outputs within {method.agreement:g} of the parent's",
        "versions": ", ".join(method.versions),
        "card": _shown(_card(source)) if _card(source).exists() else "",
        "source": _shown(source),
    }
    return [[name, text] for name, text in shown.items() if text]


def _shown(path: Path) -> str:
    """A path as one would type it here."""
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def _needs(method: type[Method]) -> str:
    """The measurements it reads with its default settings."""
    required = [name for name, field in method.Settings.model_fields.items() if field.is_required()]
    return f"depends on {', '.join(required)}" if required else ", ".join(method().needs())
