"""Say how two recipes' networks differ: steps, settings, versions, seeds, tensors; and accuracy and size.

Only records are read, no tensor is. Accuracies are means over the seeds with their 95 % intervals.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any

from prunery.commands.changes import changes
from prunery.commands.text import table
from prunery.record import read_record
from prunery.trace import checkpoints, zeros

Record = dict[str, Any]
Row = list[str]
SHOWN = 5
"""Tensors that are listed."""
NARROW = 31
"""Columns of a cell: three of them and their gaps fill the page."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    parser.add_argument("a", type=Path, metavar="A", help="a recipe's folder below results/")
    parser.add_argument("b", type=Path, metavar="B", help="another one")


def run(options: argparse.Namespace) -> int:
    """Print the differences."""
    chains = [checkpoints(_folder(path)) for path in (options.a, options.b)]
    print(f"A  {chains[0][-1]}\nB  {chains[1][-1]}")
    for title, rows in _parts(chains):
        body = table([[title, "A", "B"], *rows], widest=NARROW) if rows else f"{title}  no difference"
        print(f"\n{body}")
    return 0


def _folder(path: Path) -> Path:
    """The recipe's folder, also where its record is named."""
    return path.parent if path.name == "model.json" else path


def _parts(chains: list[list[Path]]) -> Iterator[tuple[str, list[Row]]]:
    """Titles and rows of the tables."""
    a, b = ([read_record(folder) for folder in chain] for chain in chains)
    yield "how they were made", [*_bases(chains), *_networks(a[-1], b[-1]), *_steps(a, b), *_seeds(a[-1], b[-1])]
    yield from _measured([chain[-1] for chain in chains])
    yield "tensors", _tensors(a[-1], b[-1])


def _bases(chains: list[list[Path]]) -> list[Row]:
    pair = [chain[0].resolve().parent.name for chain in chains]
    return [["base", *pair]] if pair[0] != pair[1] else []


def _networks(a: Record, b: Record) -> list[Row]:
    """The networks that were trained, and what for."""
    rows = []
    for key, what in (("model", "model"), ("settings", "setting {} of the model"), ("spec", "{} of the data")):
        first, second = a["network"][key], b["network"][key]
        sides = (first, second) if isinstance(first, dict) else ({key: first}, {key: second})
        for name in sorted(sides[0] | sides[1]):
            pair = [str(side.get(name, "-")) for side in sides]
            rows += [[what.format(name), *pair]] if pair[0] != pair[1] else []
    return rows


def _steps(a: list[Record], b: list[Record]) -> Iterator[Row]:
    """Steps of one recipe only, and what differs in steps that both have; steps of one stage are set side by side."""
    made = [[record["provenance"] for record in chain] for chain in (a, b)]
    stages = [[each["stage"] for each in side] for side in made]
    for _, start, end, from_, to in SequenceMatcher(a=stages[0], b=stages[1], autojunk=False).get_opcodes():
        if end - start != to - from_ or stages[0][start:end] != stages[1][from_:to]:
            yield from ([_name(each), _method(each), "-"] for each in made[0][start:end])
            yield from ([_name(each), "-", _method(each)] for each in made[1][from_:to])
            continue
        for before, now in zip(made[0][start:end], made[1][from_:to], strict=True):
            name = _name(now) if _name(before) == _name(now) else now["stage"]
            yield from ([f"{name}: {change.what}", change.before, change.now] for change in changes(before, now))


def _name(provenance: Record) -> str:
    return f"{provenance['stage']}={provenance['variant']}"


def _method(provenance: Record) -> str:
    return f"method {provenance['method']}"


def _seeds(a: Record, b: Record) -> list[Row]:
    pair = [", ".join(sorted(record["replicas"], key=int)) for record in (a, b)]
    return [["seeds", *pair]] if pair[0] != pair[1] else []


def _measured(folders: list[Path]) -> Iterator[tuple[str, list[Row]]]:
    """The figures of every evaluation that both have."""
    names = set.intersection(*({path.name for path in folder.glob("evaluate=*.json")} for folder in folders))
    if names:
        from prunery.commands.figures import compared

        yield from (
            (name.removesuffix(".json"), compared([folder / name for folder in folders])) for name in sorted(names)
        )


def _tensors(a: Record, b: Record) -> list[Row]:
    """How many tensors differ, and the first of them; replicas of one seed are compared."""
    both = [seed for seed in a["replicas"] if seed in b["replicas"]]
    rows: dict[str, Row] = {}
    for seed in both:
        sides = [record["replicas"][seed]["tensors"] for record in (a, b)]
        for key in sorted(sides[0] | sides[1]):
            facts = [side.get(key) for side in sides]
            if facts[0] != facts[1]:
                rows.setdefault(key, [f"{key}, seed {seed}", *_told(*facts)])
    if not both:
        return [["no seed in common", "", ""]]
    if not rows:
        return []
    total = {key for record in (a, b) for seed in both for key in record["replicas"][seed]["tensors"]}
    first = [row for _, row in sorted(rows.items())[:SHOWN]]
    more = [[f"and {len(rows) - SHOWN} more", "", ""]] if len(rows) > SHOWN else []
    return [[f"{len(rows)} of {len(total)} differ", "", ""], *first, *more]


def _told(a: Record | None, b: Record | None) -> Row:
    """Type, shape and zeros of two tensors; where those agree, the start of the hash of their bytes."""
    told = [_facts(a), _facts(b)]
    return told if told[0] != told[1] else [f"{_facts(each)} {each['sha256'][:8]}" for each in (a, b) if each]


def _facts(tensor: Record | None) -> str:
    if tensor is None:
        return "-"
    shape = "x".join(map(str, tensor["shape"])) or "scalar"
    return f"{tensor['dtype']} {shape} {zeros(tensor)}"
